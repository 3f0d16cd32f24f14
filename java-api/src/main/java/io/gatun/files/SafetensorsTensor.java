package io.gatun.files;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/**
 * A tensor of a safetensors file, or for one.
 *
 * @param name unique in its file
 * @param type of the elements
 * @param shape at most 64 sizes, the slowest axis first, none for a scalar
 * @param data the elements in row-major order without gaps; any alignment
 */
public record SafetensorsTensor(String name, SafetensorsType type, Shape shape, MemorySegment data)
        implements StoredTensor {
    static final int MAX_RANK = 64;

    /** Refuses what does not fit together. */
    public SafetensorsTensor {
        Check.present("name", name);
        Check.present("type", type);
        Check.present("shape", shape);
        Check.present("data", data);
        if (shape.rank() > MAX_RANK) {
            throw Check.invalid("shape", "rank " + shape.rank(), "0.." + MAX_RANK);
        }
        long bytes = type.bytes(shape.elements());
        if (bytes < 0) {
            throw Check.invalid("shape", shape + " of " + type, "whole bytes, at most " + Long.MAX_VALUE);
        }
        if (data.byteSize() != bytes) {
            throw Check.invalid("data", data.byteSize() + " bytes", bytes + " for " + type + shape);
        }
    }

    /**
     * A contiguous tensor under a name; nothing is copied.
     *
     * @throws IllegalArgumentException if safetensors have no such type, or elements smaller than a byte leave bits of
     *     rows unused, which the format does not know (see {@link #ofBytes})
     */
    public static SafetensorsTensor of(String name, Tensor tensor) {
        Check.present("tensor", tensor);
        Check.contiguous("tensor", tensor);
        SafetensorsType type = SafetensorsType.of(tensor.dtype());
        if (type == null
                || type.bytes(tensor.shape().elements()) != tensor.segment().byteSize()) {
            throw Check.invalid("tensor", tensor.describe(), "a type of SafetensorsType without gaps, or ofBytes");
        }
        return new SafetensorsTensor(name, type, tensor.shape(), tensor.segment());
    }

    /**
     * The bytes of a contiguous tensor of any type under a name, as {@link SafetensorsType#U8} of the same shape but for
     * the last axis, which is that of bytes. For packed types of Gatun that the format lacks: to read one again, wrap
     * {@link #data}. Nothing is copied.
     */
    public static SafetensorsTensor ofBytes(String name, Tensor tensor) {
        Check.present("tensor", tensor);
        Check.contiguous("tensor", tensor);
        long[] sizes =
                tensor.shape().rank() == 0 ? new long[] {1} : tensor.shape().toArray();
        sizes[sizes.length - 1] = tensor.dtype().bytes(sizes[sizes.length - 1]);
        return new SafetensorsTensor(name, SafetensorsType.U8, Shape.of(sizes), tensor.segment());
    }

    @Override
    public DType dtype() {
        return type.dtype();
    }

    /** Name, type and shape: {@code encoder.layer.0.weight BF16[768, 768]}. */
    @Override
    public String toString() {
        return name + " " + type + shape;
    }
}
