package io.gatun.files;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/**
 * A tensor of a GGUF file, or for one.
 *
 * @param name unique in its file
 * @param type of the elements
 * @param shape at most 4 sizes, the slowest axis first (files state them the other way round); the last one a multiple of
 *     {@link GgmlType#blockElements}
 * @param data the blocks in row-major order without gaps; any alignment
 */
public record GgufTensor(String name, GgmlType type, Shape shape, MemorySegment data) implements StoredTensor {
    static final int MAX_RANK = 4;

    /** Refuses what does not fit together. */
    public GgufTensor {
        Check.present("name", name);
        Check.present("type", type);
        Check.present("shape", shape);
        Check.present("data", data);
        String problem = problem(type, shape);
        if (problem != null) {
            throw Check.invalid("shape", shape + " of " + type, problem);
        }
        if (data.byteSize() != bytes(type, shape)) {
            throw Check.invalid("data", data.byteSize() + " bytes", bytes(type, shape) + " for " + type + shape);
        }
    }

    /**
     * A contiguous tensor under a name; nothing is copied.
     *
     * @throws IllegalArgumentException if GGUF has no such type: it has f32, f16, bf16, i8 and i32
     */
    public static GgufTensor of(String name, Tensor tensor) {
        Check.present("tensor", tensor);
        Check.contiguous("tensor", tensor);
        GgmlType type = GgmlType.of(tensor.dtype());
        if (type == null) {
            throw Check.invalid("tensor", "dtype " + tensor.dtype(), "f32, f16, bf16, i8 or i32, or blocks");
        }
        return new GgufTensor(name, type, tensor.shape(), tensor.segment());
    }

    @Override
    public DType dtype() {
        return type.dtype();
    }

    /**
     * The blocks as a matrix [rows, bytes of a row] of {@link DType#U8}, whatever the type is; nothing is copied. Rows
     * are those of the last axis, all other axes together.
     */
    public Tensor blocks() {
        int last = shape.rank() - 1;
        try {
            long rows = 1;
            for (int axis = 0; axis < last; axis++) {
                rows = Math.multiplyExact(rows, shape.size(axis));
            }
            return Tensor.wrap(data, DType.U8, rows, type.bytes(last < 0 ? 1 : shape.size(last)));
        } catch (ArithmeticException overflow) {
            throw Check.invalid("tensor " + Text.quote(name), "shape " + shape, "rows and their bytes in 64 bits");
        }
    }

    /** What is wrong with a shape, or null. */
    static String problem(GgmlType type, Shape shape) {
        if (shape.rank() > MAX_RANK) {
            return "at most " + MAX_RANK + " axes";
        }
        long columns = shape.rank() == 0 ? 1 : shape.size(shape.rank() - 1);
        if (columns % type.blockElements() != 0) {
            return "a last axis that is a multiple of " + type.blockElements();
        }
        return Math.multiplyHigh(shape.elements() / type.blockElements(), type.blockBytes()) != 0
                        || bytes(type, shape) < 0
                ? "at most " + Long.MAX_VALUE + " bytes"
                : null;
    }

    /** The bytes of a tensor in which {@link #problem} finds none. */
    static long bytes(GgmlType type, Shape shape) {
        return shape.elements() / type.blockElements() * type.blockBytes();
    }

    /** Name, type and shape: {@code blk.0.attn_q.weight Q4_K[4096, 4096]}. */
    @Override
    public String toString() {
        return name + " " + type + shape;
    }
}
