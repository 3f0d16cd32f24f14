package io.gatun.files;

import io.gatun.Shape;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;

/** Reads what precedes the data of a GGUF file, and finds the data. */
final class GgufReader {
    private static final int MAGIC = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;
    private static final long LONGEST_NAME = 65535;

    private final Path file;
    private final MemorySegment bytes;
    private final Cursor in;

    /** A tensor whose data has not been found yet; {@code entry} is where its offset stands. */
    private record Entry(String name, GgmlType type, Shape shape, long offset, long entry) {
        long size() {
            return GgufTensor.bytes(type, shape);
        }

        long end() {
            return offset + size();
        }
    }

    GgufReader(Path file, MemorySegment bytes) {
        this.file = file;
        this.bytes = bytes;
        this.in = new Cursor(file, bytes);
    }

    Gguf read() throws MalformedFileException {
        long magic = in.u32("magic");
        if (magic != MAGIC) {
            throw in.malformed(
                    0, "magic", "0x" + Long.toHexString(magic), "0x" + Integer.toHexString(MAGIC) + " (GGUF)");
        }
        long version = in.u32("version");
        if (version != 2 && version != 3) {
            boolean swapped = version != 0 && (version & 0xffff) == 0;
            throw in.malformed(4, "version", version, "2 or 3" + (swapped ? ", little-endian" : ""));
        }
        // A tensor takes 24 bytes or more: the length of its name, axes, type, offset. A key 14: length, one byte,
        // type, value.
        long tensorCount = in.count("number of tensors", 24);
        long keyCount = in.count("number of keys", 14);
        LinkedHashMap<String, GgufValue> metadata = readMetadata(keyCount);
        long alignment = alignment(metadata);
        LinkedHashMap<String, Entry> entries = readEntries(tensorCount);
        return new Gguf(file, (int) version, alignment, metadata, findData(entries, alignment));
    }

    private LinkedHashMap<String, GgufValue> readMetadata(long count) throws MalformedFileException {
        LinkedHashMap<String, GgufValue> metadata = new LinkedHashMap<>();
        for (long i = 0; i < count; i++) {
            in.of("key " + i);
            long start = in.position;
            String key = in.string("name", LONGEST_NAME);
            if (key.isEmpty() || metadata.containsKey(key)) {
                throw in.malformed(start, "name", Text.quote(key), "names of a character or more, each once");
            }
            in.of("key", key);
            GgufValueType type = readType("type");
            long value = in.position;
            passValue(type, 0);
            metadata.put(key, new GgufValue(type, bytes.asSlice(value, in.position - value)));
        }
        return metadata;
    }

    private GgufValueType readType(String field) throws MalformedFileException {
        long start = in.position;
        long id = in.u32(field);
        GgufValueType type = GgufValueType.of(id);
        if (type == null) {
            throw in.malformed(start, field, id, "0..12");
        }
        return type;
    }

    private void passValue(GgufValueType type, int depth) throws MalformedFileException {
        switch (type) {
            case BOOL -> passBool();
            case STRING -> in.skip("string", in.count("string length", 1));
            case ARRAY -> passArray(depth + 1);
            default -> in.skip("value", type.bytes());
        }
    }

    private void passBool() throws MalformedFileException {
        long start = in.position;
        int value = in.u8("boolean");
        if (value > 1) {
            throw in.malformed(start, "boolean", value, "0 or 1");
        }
    }

    private void passArray(int depth) throws MalformedFileException {
        if (depth > GgufValue.MAX_DEPTH) {
            throw in.malformed(in.position, "array", "arrays " + depth + " deep", "up to " + GgufValue.MAX_DEPTH);
        }
        GgufValueType each = readType("element type");
        long count = in.count("array size", each.leastBytes());
        if (each.bytes() > 0 && each != GgufValueType.BOOL) {
            in.skip("array", count * each.bytes());
            return;
        }
        for (long i = 0; i < count; i++) {
            passValue(each, depth);
        }
    }

    private long alignment(LinkedHashMap<String, GgufValue> metadata) throws MalformedFileException {
        GgufValue value = metadata.get(Gguf.ALIGNMENT);
        if (value == null) {
            return Gguf.DEFAULT_ALIGNMENT;
        }
        if (value.type() != GgufValueType.UINT32 || !Gguf.isAlignment(value.asLong())) {
            throw new MalformedFileException(
                    file, "key " + Text.quote(Gguf.ALIGNMENT), value, "a power of two from 8 on, of type UINT32");
        }
        return value.asLong();
    }

    private LinkedHashMap<String, Entry> readEntries(long count) throws MalformedFileException {
        LinkedHashMap<String, Entry> entries = new LinkedHashMap<>();
        for (long i = 0; i < count; i++) {
            in.of("tensor " + i);
            long start = in.position;
            String name = in.string("name", LONGEST_NAME);
            if (entries.containsKey(name)) {
                throw in.malformed(start, "name", Text.quote(name), "each name once");
            }
            in.of("tensor", name);
            entries.put(name, readEntry(name));
        }
        return entries;
    }

    private Entry readEntry(String name) throws MalformedFileException {
        long start = in.position;
        long rank = in.u32("number of axes");
        if (rank > GgufTensor.MAX_RANK) {
            throw in.malformed(start, "number of axes", rank, "0.." + GgufTensor.MAX_RANK);
        }
        long[] sizes = new long[(int) rank];
        for (int axis = sizes.length - 1; axis >= 0; axis--) {
            sizes[axis] = in.u64("size of an axis");
        }
        long typeStart = in.position;
        long id = in.u32("type");
        GgmlType type = GgmlType.of(id);
        if (type == null) {
            throw in.malformed(typeStart, "type", id, "the number of a type of GgmlType");
        }
        Shape shape = shape(start, sizes);
        String problem = GgufTensor.problem(type, shape);
        if (problem != null) {
            throw in.malformed(start, "shape", shape + " of " + type, problem);
        }
        long offset = in.position;
        return new Entry(name, type, shape, in.u64("offset"), offset);
    }

    private Shape shape(long start, long[] sizes) throws MalformedFileException {
        try {
            return Shape.of(sizes);
        } catch (IllegalArgumentException tooLarge) {
            throw in.malformed(start, "shape", Arrays.toString(sizes), "at most 2^63 - 1 elements");
        }
    }

    private LinkedHashMap<String, GgufTensor> findData(LinkedHashMap<String, Entry> entries, long alignment)
            throws MalformedFileException {
        LinkedHashMap<String, GgufTensor> tensors = new LinkedHashMap<>();
        if (entries.isEmpty()) {
            return tensors; // then there need be no data, nor the padding before it
        }
        long start = Gguf.align(in.position, alignment);
        long room = bytes.byteSize() - start;
        in.of("data");
        if (room < 0) {
            throw in.malformed(start, "start", "a file of " + bytes.byteSize() + " bytes", "at least " + start);
        }
        for (Entry entry : entries.values()) {
            in.of("tensor", entry.name());
            if (entry.offset() % alignment != 0) {
                throw in.malformed(entry.entry(), "offset", entry.offset(), "multiples of " + alignment);
            }
            if (entry.size() > room || entry.offset() > room - entry.size()) {
                throw in.malformed(
                        entry.entry(),
                        "offset",
                        entry.offset(),
                        room < entry.size()
                                ? "data of " + entry.size() + " bytes, of which the file has " + room
                                : "0.." + (room - entry.size()) + " for " + entry.size() + " bytes");
            }
            MemorySegment data = bytes.asSlice(start + entry.offset(), entry.size());
            tensors.put(entry.name(), new GgufTensor(entry.name(), entry.type(), entry.shape(), data));
        }
        checkDisjoint(entries);
        return tensors;
    }

    private void checkDisjoint(LinkedHashMap<String, Entry> entries) throws MalformedFileException {
        List<Entry> byOffset = new ArrayList<>(entries.values());
        byOffset.removeIf(entry -> entry.size() == 0);
        byOffset.sort(Comparator.comparingLong(Entry::offset));
        for (int i = 1; i < byOffset.size(); i++) {
            Entry before = byOffset.get(i - 1);
            Entry entry = byOffset.get(i);
            if (entry.offset() < before.end()) {
                in.of("tensor", entry.name());
                throw in.malformed(
                        entry.entry(),
                        "offset",
                        entry.offset(),
                        before.end() + " or more, after tensor " + Text.quote(before.name()));
            }
        }
    }
}
