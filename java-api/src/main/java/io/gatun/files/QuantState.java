package io.gatun.files;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.internal.Check;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What bitsandbytes says of a 4-bit weight beside its tensors, in JSON.
 *
 * @param type nf4 or fp4
 * @param block elements that share a scale
 * @param dtype of the weight before, a name of PyTorch
 * @param shape of the weight
 * @param nestedBlock scales that share a scale, 0 if they are not nested
 * @param nestedOffset what nested scales are less
 */
record QuantState(String type, long block, String dtype, Shape shape, long nestedBlock, float nestedOffset) {
    private static final int MAX_RANK = 64;

    boolean isNested() {
        return nestedBlock > 0;
    }

    /** The shape with two axes. */
    Shape matrix() {
        if (shape.rank() == 2) {
            return shape;
        }
        long rows = shape.rank() < 2 ? 1 : shape.size(0);
        return rows == 0 ? Shape.of(0, 0) : Shape.of(rows, shape.elements() / rows);
    }

    static String nameOf(DType original) {
        return switch (original) {
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            default -> throw Check.invalid("original", original, "f32, f16 or bf16");
        };
    }

    String json() {
        StringBuilder text = new StringBuilder("{\"quant_type\": \"").append(type);
        text.append("\", \"blocksize\": ").append(block);
        text.append(", \"dtype\": \"").append(dtype).append("\", \"shape\": [");
        for (int axis = 0; axis < shape.rank(); axis++) {
            text.append(axis == 0 ? "" : ", ").append(shape.size(axis));
        }
        text.append(']');
        if (isNested()) {
            text.append(", \"nested_blocksize\": ").append(nestedBlock);
            text.append(", \"nested_dtype\": \"float32\", \"nested_offset\": ").append((double) nestedOffset);
        }
        return text.append('}').toString();
    }

    /** Of the two tensors {@code key} + type, the one that is there. */
    static QuantState read(Safetensors file, String name, String key) throws MalformedFileException {
        String type = file.tensors().containsKey(key + "nf4") ? "nf4" : "fp4";
        SafetensorsTensor tensor = file.tensor(key + type);
        JsonCursor in =
                new JsonCursor(file.file(), tensor.data(), 0, tensor.data().byteSize());
        in.of("tensor", key + type);
        Reader reader = new Reader(in);
        reader.read();
        boolean nested = file.tensors().containsKey(name + ".nested_absmax");
        List<String> needed = new ArrayList<>(List.of("quant_type", "blocksize", "dtype", "shape"));
        if (nested) {
            needed.addAll(List.of("nested_blocksize", "nested_dtype", "nested_offset"));
        }
        if (!reader.seen.containsAll(needed)) {
            throw in.malformed(0, "fields", reader.seen, needed);
        }
        if (!reader.type.equals(type)) {
            throw in.malformed(0, "quant_type", Text.quote(reader.type), Text.quote(type) + ", as the name says");
        }
        return new QuantState(
                type, reader.block, reader.dtype, reader.shape, nested ? reader.nestedBlock : 0, reader.nestedOffset);
    }

    /** The fields, in any order. */
    private static final class Reader {
        private final JsonCursor in;
        private final Set<String> seen = new HashSet<>();
        private String type;
        private long block;
        private String dtype;
        private Shape shape;
        private long nestedBlock;
        private float nestedOffset;

        Reader(JsonCursor in) {
            this.in = in;
        }

        void read() throws MalformedFileException {
            in.expect("beginning", '{');
            for (boolean first = true; in.member("field", first, '}'); first = false) {
                long start = in.position;
                String field = in.string("field");
                in.expect("field", ':');
                if (!seen.add(field)) {
                    throw in.malformed(start, "field", Text.quote(field), "each field once");
                }
                readValue(start, field);
            }
            in.finish("end");
        }

        private void readValue(long start, String field) throws MalformedFileException {
            switch (field) {
                case "quant_type" -> type = in.string(field);
                case "blocksize" -> block = blockSize(field, 16);
                case "dtype" -> dtype = in.string(field);
                case "shape" -> shape = readShape();
                case "nested_blocksize" -> nestedBlock = blockSize(field, 1);
                case "nested_dtype" -> {
                    long at = in.position;
                    String nested = in.string(field);
                    if (!nested.equals("float32")) {
                        throw in.malformed(at, field, Text.quote(nested), "\"float32\"");
                    }
                }
                case "nested_offset" -> {
                    long at = in.position;
                    nestedOffset = (float) in.decimal(field);
                    if (!Float.isFinite(nestedOffset)) {
                        throw in.malformed(at, field, nestedOffset, "numbers of f32");
                    }
                }
                default ->
                    throw in.malformed(
                            start,
                            "field",
                            Text.quote(field),
                            "quant_type, blocksize, dtype, shape, nested_blocksize, nested_dtype, nested_offset");
            }
        }

        private long blockSize(String field, long least) throws MalformedFileException {
            long at = in.position;
            long value = in.number(field);
            if (value < least) {
                throw in.malformed(at, field, value, "at least " + least);
            }
            return value;
        }

        private Shape readShape() throws MalformedFileException {
            long start = in.position;
            List<Long> sizes = new ArrayList<>();
            in.expect("shape", '[');
            for (boolean first = true; in.member("shape", first, ']'); first = false) {
                sizes.add(in.number("shape"));
                if (sizes.size() > MAX_RANK) {
                    throw in.malformed(start, "shape", "more than " + MAX_RANK + " sizes", "at most " + MAX_RANK);
                }
            }
            try {
                return Shape.of(sizes.stream().mapToLong(Long::longValue).toArray());
            } catch (IllegalArgumentException tooLarge) {
                throw in.malformed(start, "shape", sizes, "at most 2^63 - 1 elements");
            }
        }
    }
}
