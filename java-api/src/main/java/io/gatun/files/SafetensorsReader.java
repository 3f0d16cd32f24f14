package io.gatun.files;

import io.gatun.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads the header of a safetensors file and finds the data. */
final class SafetensorsReader {
    private final Path file;
    private final MemorySegment bytes;
    private JsonCursor in;

    /** What the header says of a tensor; {@code start} is where it says so. */
    private record Entry(long start, SafetensorsType type, Shape shape, long begin, long end) {}

    SafetensorsReader(Path file, MemorySegment bytes) {
        this.file = file;
        this.bytes = bytes;
    }

    Safetensors read() throws MalformedFileException {
        Cursor head = new Cursor(file, bytes);
        long length = head.count("length", 1, Safetensors.MAX_HEADER);
        if (length < 2) {
            throw head.malformed(0, "length", length, "2 or more");
        }
        byte first = bytes.get(ValueLayout.JAVA_BYTE, 8);
        if (first != '{') {
            throw head.malformed(8, "beginning", Text.quote(String.valueOf((char) (first & 0xff))), "'{'");
        }
        in = new JsonCursor(file, bytes, 8, 8 + length);
        LinkedHashMap<String, String> metadata = new LinkedHashMap<>();
        LinkedHashMap<String, Entry> entries = new LinkedHashMap<>();
        boolean metadataSeen = false;
        in.expect("beginning", '{');
        for (boolean none = true; in.member("name", none, '}'); none = false) {
            in.of("header");
            long start = in.position;
            String name = in.string("name");
            in.of("tensor", name);
            in.expect("name", ':');
            boolean isMetadata = name.equals(Safetensors.METADATA);
            if (isMetadata ? metadataSeen : entries.containsKey(name)) {
                throw in.malformed(start, "name", Text.quote(name), "each name once");
            }
            if (isMetadata) {
                metadataSeen = true;
                in.of(Safetensors.METADATA);
                readMetadata(metadata);
            } else {
                entries.put(name, readEntry());
            }
        }
        in.of("header");
        in.finish("end");
        return new Safetensors(file, metadata, findData(entries, 8 + length));
    }

    private void readMetadata(LinkedHashMap<String, String> metadata) throws MalformedFileException {
        in.expect("beginning", '{');
        for (boolean first = true; in.member("name", first, '}'); first = false) {
            long start = in.position;
            String name = in.string("name");
            in.expect("name", ':');
            if (metadata.put(name, in.string("text")) != null) {
                throw in.malformed(start, "name", Text.quote(name), "each name once");
            }
        }
    }

    private Entry readEntry() throws MalformedFileException {
        long start = in.position;
        SafetensorsType type = null;
        Shape shape = null;
        long[] offsets = null;
        in.expect("beginning", '{');
        for (boolean first = true; in.member("field", first, '}'); first = false) {
            long fieldStart = in.position;
            String field = in.string("field");
            in.expect("field", ':');
            if (field.equals("dtype") && type == null) {
                type = readType();
            } else if (field.equals("shape") && shape == null) {
                shape = readShape();
            } else if (field.equals("data_offsets") && offsets == null) {
                offsets = readNumbers("data_offsets", 2);
            } else {
                throw in.malformed(fieldStart, "field", Text.quote(field), "dtype, shape and data_offsets, each once");
            }
        }
        if (type == null || shape == null || offsets == null || offsets.length < 2) {
            String missing = type == null ? "dtype" : shape == null ? "shape" : "data_offsets [begin, end]";
            throw in.malformed(start, "fields", "no " + missing, "dtype, shape and data_offsets, each once");
        }
        return check(new Entry(start, type, shape, offsets[0], offsets[1]));
    }

    private Entry check(Entry entry) throws MalformedFileException {
        long size = entry.type().bytes(entry.shape().elements());
        if (size < 0) {
            throw in.malformed(
                    entry.start(),
                    "shape",
                    entry.shape() + " of " + entry.type(),
                    "whole bytes, at most " + Long.MAX_VALUE);
        }
        if (entry.begin() > entry.end() || entry.end() - entry.begin() != size) {
            throw in.malformed(
                    entry.start(),
                    "data_offsets",
                    "[" + entry.begin() + ", " + entry.end() + "]",
                    size + " bytes for " + entry.type() + entry.shape());
        }
        return entry;
    }

    private SafetensorsType readType() throws MalformedFileException {
        long start = in.position;
        String name = in.string("dtype");
        SafetensorsType type = SafetensorsType.of(name);
        if (type == null) {
            throw in.malformed(start, "dtype", Text.quote(name), Arrays.toString(SafetensorsType.values()));
        }
        return type;
    }

    private Shape readShape() throws MalformedFileException {
        long start = in.position;
        long[] sizes = readNumbers("shape", SafetensorsTensor.MAX_RANK);
        try {
            return Shape.of(sizes);
        } catch (IllegalArgumentException tooLarge) {
            throw in.malformed(start, "shape", Arrays.toString(sizes), "at most 2^63 - 1 elements");
        }
    }

    private long[] readNumbers(String field, int most) throws MalformedFileException {
        long[] numbers = new long[most];
        int count = 0;
        in.expect(field, '[');
        for (boolean first = true; in.member(field, first, ']'); first = false) {
            long start = in.position;
            long number = in.number(field);
            if (count == most) {
                throw in.malformed(start, field, "more than " + most + " numbers", "at most " + most);
            }
            numbers[count++] = number;
        }
        return Arrays.copyOf(numbers, count);
    }

    private LinkedHashMap<String, SafetensorsTensor> findData(LinkedHashMap<String, Entry> entries, long start)
            throws MalformedFileException {
        long room = bytes.byteSize() - start;
        List<Map.Entry<String, Entry>> ordered = new ArrayList<>(entries.entrySet());
        ordered.sort(Map.Entry.comparingByValue(
                Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end)));
        LinkedHashMap<String, SafetensorsTensor> tensors = new LinkedHashMap<>();
        long end = 0;
        for (Map.Entry<String, Entry> named : ordered) {
            String name = named.getKey();
            Entry entry = named.getValue();
            if (entry.begin() != end || entry.end() > room) {
                in.of("tensor", name);
                throw in.malformed(
                        entry.start(),
                        "data_offsets",
                        "[" + entry.begin() + ", " + entry.end() + "]",
                        "begin " + end + " where the tensor before ends, end up to " + room);
            }
            MemorySegment data = bytes.asSlice(start + entry.begin(), entry.end() - entry.begin());
            tensors.put(name, new SafetensorsTensor(name, entry.type(), entry.shape(), data));
            end = entry.end();
        }
        if (end != room) {
            in.of("data");
            throw in.malformed(start, "size", room + " bytes", end + ", where the last tensor ends");
        }
        return tensors;
    }
}
