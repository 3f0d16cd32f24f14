package io.gatun.files;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A GGUF file, version 2 or 3, little-endian: metadata and tensors by name, both in the order of the file.
 *
 * <pre>{@code
 * try (Arena arena = Arena.ofShared()) {
 *     Gguf model = Gguf.open(path, arena);
 *     long layers = model.value("llama.block_count").asLong();
 *     Tensor norm = model.tensor("output_norm.weight").tensor(); // f32: a view of the file
 *     PackedWeights output = QMatmul.pack(model.tensor("output.weight").quantized()); // Q6_K, packed from the file
 * }
 * }</pre>
 *
 * <p>What is checked is the format's definition (the document {@code gguf.md} of ggml), with the limits that ggml sets:
 * every string, count and size against the end of the file; types against those that exist; keys and names against
 * double ones; booleans are 0 or 1; at most 4 axes; rows of whole blocks; the alignment a power of two of at least 8; the
 * data of tensors aligned, inside the file and not overlapping. Arrays may be 8 deep.
 */
public final class Gguf {
    /** The key of the alignment of tensors in bytes, a UINT32. */
    public static final String ALIGNMENT = "general.alignment";

    static final int DEFAULT_ALIGNMENT = 32;

    private final Path file;
    private final int version;
    private final long alignment;
    private final Map<String, GgufValue> metadata;
    private final Map<String, GgufTensor> tensors;

    Gguf(
            Path file,
            int version,
            long alignment,
            LinkedHashMap<String, GgufValue> metadata,
            LinkedHashMap<String, GgufTensor> tensors) {
        this.file = file;
        this.version = version;
        this.alignment = alignment;
        this.metadata = Collections.unmodifiableMap(metadata);
        this.tensors = Collections.unmodifiableMap(tensors);
    }

    /**
     * Maps a file and reads its metadata and the list of its tensors; O(size of these two).
     *
     * @param arena how long file and tensors are used
     * @throws MalformedFileException if this is no GGUF file
     * @throws IOException if the file cannot be opened or mapped
     */
    public static Gguf open(Path file, Arena arena) throws IOException {
        MemorySegment bytes = Mapping.open(file, arena);
        return new GgufReader(file, bytes).read();
    }

    /**
     * Writes a file of version 3. It takes its name when it is complete; a file of that name is replaced, and stays as it
     * is if writing fails. Data goes from where it lies to the file, in pieces of a megabyte.
     *
     * @param metadata by key, written in the order of the map; {@link #ALIGNMENT} in it sets the alignment, otherwise it
     *     is 32. Keys have 1 to 65535 bytes in UTF-8
     * @param tensors written in this order; names have at most 63 bytes in UTF-8, which is what ggml reads
     * @throws IllegalArgumentException if a name is double or too long, or the alignment no power of two of at least 8
     * @throws IOException if the file cannot be written
     */
    public static void write(Path file, Map<String, GgufValue> metadata, Collection<GgufTensor> tensors)
            throws IOException {
        GgufWriter.write(file, metadata, tensors);
    }

    /** 2 or 3. */
    public int version() {
        return version;
    }

    /** The alignment of tensors in the file, in bytes. */
    public long alignment() {
        return alignment;
    }

    /** All metadata, in the order of the file; cannot be changed. */
    public Map<String, GgufValue> metadata() {
        return metadata;
    }

    /** All tensors, in the order of the file; cannot be changed. */
    public Map<String, GgufTensor> tensors() {
        return tensors;
    }

    /**
     * The metadata of a key.
     *
     * @throws IllegalArgumentException if there is none; {@link #metadata} says which keys there are
     */
    public GgufValue value(String key) {
        return Mapping.find(file, "key", key, metadata);
    }

    /**
     * The tensor of a name.
     *
     * @throws IllegalArgumentException if there is none; {@link #tensors} says which names there are
     */
    public GgufTensor tensor(String name) {
        return Mapping.find(file, "tensor", name, tensors);
    }

    /** For a person: file, version, and how much is in it. */
    @Override
    public String toString() {
        return file + ": GGUF " + version + ", " + metadata.size() + " keys, " + tensors.size() + " tensors";
    }

    /** Refuses an alignment that the format or ggml does not allow. */
    static boolean isAlignment(long bytes) {
        return bytes >= 8 && Long.bitCount(bytes) == 1;
    }

    /** The next multiple of an alignment; overflows only beyond the sizes of files. */
    static long align(long position, long alignment) {
        return Math.addExact(position, alignment - 1) & -alignment;
    }
}
