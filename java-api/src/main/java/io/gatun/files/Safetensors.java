package io.gatun.files;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A safetensors file: tensors by name, in the order of their data, and a map of texts.
 *
 * <pre>{@code
 * try (Arena arena = Arena.ofShared()) {
 *     Safetensors model = Safetensors.open(path, arena);
 *     Tensor weight = model.tensor("encoder.layer.0.output.dense.weight").tensor(); // a view of the file
 * }
 * }</pre>
 *
 * <p>What is checked is the format's definition (README of huggingface/safetensors): the header has at most 100 million
 * bytes, lies inside the file, begins with a brace and is UTF-8 and JSON; names are there once; each tensor has type,
 * shape and offsets and nothing else, its bytes are as many as type and shape say, and all together cover the rest of
 * the file without holes or overlaps. Shapes have at most 64 axes.
 */
public final class Safetensors {
    static final long MAX_HEADER = 100_000_000;
    static final String METADATA = "__metadata__";

    private final Path file;
    private final Map<String, String> metadata;
    private final Map<String, SafetensorsTensor> tensors;

    Safetensors(Path file, LinkedHashMap<String, String> metadata, LinkedHashMap<String, SafetensorsTensor> tensors) {
        this.file = file;
        this.metadata = Collections.unmodifiableMap(metadata);
        this.tensors = Collections.unmodifiableMap(tensors);
    }

    /**
     * Maps a file and reads its header; O(size of the header), and a sort of the tensors.
     *
     * @param arena how long file and tensors are used
     * @throws MalformedFileException if this is no safetensors file
     * @throws IOException if the file cannot be opened or mapped
     */
    public static Safetensors open(Path file, Arena arena) throws IOException {
        return new SafetensorsReader(file, Mapping.open(file, arena)).read();
    }

    /**
     * Writes a file. It takes its name when it is complete; a file of that name is replaced, and stays as it is if writing
     * fails. Data goes from where it lies to the file, in pieces of a megabyte. Tensors are ordered as the format's own
     * library orders them, and data is aligned to its elements.
     *
     * @param metadata texts by name, written in the order of the map
     * @param tensors in any order
     * @throws IllegalArgumentException if a name is double or {@code __metadata__}, a text holds unpaired surrogates, or
     *     the header would exceed 100 million bytes
     * @throws IOException if the file cannot be written
     */
    public static void write(Path file, Map<String, String> metadata, Collection<SafetensorsTensor> tensors)
            throws IOException {
        SafetensorsWriter.write(file, metadata, tensors);
    }

    /** Where it lies. */
    Path file() {
        return file;
    }

    /** The texts, in the order of the file; cannot be changed. */
    public Map<String, String> metadata() {
        return metadata;
    }

    /** All tensors, in the order of their data; cannot be changed. */
    public Map<String, SafetensorsTensor> tensors() {
        return tensors;
    }

    /**
     * The tensor of a name.
     *
     * @throws IllegalArgumentException if there is none; {@link #tensors} says which names there are
     */
    public SafetensorsTensor tensor(String name) {
        return Mapping.find(file, "tensor", name, tensors);
    }

    /** For a person: file, and how much is in it. */
    @Override
    public String toString() {
        return file + ": safetensors, " + tensors.size() + " tensors";
    }
}
