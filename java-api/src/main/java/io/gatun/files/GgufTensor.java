package io.gatun.files;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.GgufType;
import io.gatun.ops.QuantizedTensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

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

    /**
     * A matrix of GGUF blocks under a name; nothing is copied.
     *
     * @throws IllegalArgumentException if it is quantized in another way
     */
    public static GgufTensor of(String name, QuantizedTensor blocks) {
        Check.present("blocks", blocks);
        if (blocks.spec().gguf() == null) {
            throw Check.invalid("blocks", blocks, "a spec of QuantSpec.gguf");
        }
        GgmlType type = GgmlType.of(blocks.spec().gguf().id());
        return new GgufTensor(name, type, blocks.shape(), blocks.codes().segment());
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
        return Tensor.wrap(data, DType.U8, rows(), type.bytes(columns()));
    }

    /**
     * The matrix [rows, last axis], all other axes together, for {@code Quantize} and {@code QMatmul}; nothing is copied.
     *
     * @throws IllegalArgumentException if the type is none of {@link GgufType}
     */
    public QuantizedTensor quantized() {
        type.bytes(columns()); // of no rows, too, a row has a size
        for (GgufType quantized : GgufType.values()) {
            if (quantized.id() == type.id()) {
                return QuantizedTensor.gguf(quantized, rows(), columns(), data);
            }
        }
        throw Check.invalid("tensor " + Text.quote(name), "type " + type, Arrays.toString(GgufType.values()));
    }

    private long columns() {
        return shape.rank() == 0 ? 1 : shape.size(shape.rank() - 1);
    }

    /** All axes but the last together; 0 where one of them is. */
    private long rows() {
        long[] sizes = shape.toArray();
        if (sizes.length > 0) {
            sizes[sizes.length - 1] = 1;
        }
        return Shape.of(sizes).elements();
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
        long blocks = shape.elements() / type.blockElements();
        return blocks > Long.MAX_VALUE / type.blockBytes() ? "at most " + Long.MAX_VALUE + " bytes" : null;
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
