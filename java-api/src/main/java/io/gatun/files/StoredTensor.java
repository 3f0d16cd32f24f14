package io.gatun.files;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A named tensor of a file, or for one. */
public sealed interface StoredTensor permits GgufTensor, SafetensorsTensor {
    /** The name in the file. */
    String name();

    /** The type in the file. */
    Enum<?> type();

    /** The sizes, the slowest axis first, as everywhere in Gatun. */
    Shape shape();

    /** The bytes in the file. Of a file that was opened: read-only, and alive as long as the arena. */
    MemorySegment data();

    /** The same type for tensors, or null if tensors have none. */
    DType dtype();

    /**
     * A view; nothing is copied.
     *
     * @throws IllegalArgumentException if tensors have no such type or rows end inside a byte (see {@link #bytes}), or the
     *     data is not aligned to its elements, which that of some safetensors files is not (see {@link #copy})
     */
    default Tensor tensor() {
        DType dtype = checkDtype();
        if (data().isNative() && data().address() % dtype.alignment() != 0) {
            throw Check.invalid(
                    "tensor " + Text.quote(name()),
                    dtype + " data at address 0x" + Long.toHexString(data().address()),
                    "a multiple of " + dtype.alignment() + ", or copy(arena)");
        }
        return Tensor.wrap(data(), dtype, shape().toArray());
    }

    /**
     * A copy in memory of an arena, aligned and writable.
     *
     * @throws IllegalArgumentException if tensors have no such type or rows end inside a byte (see {@link #bytes})
     */
    default Tensor copy(Arena arena) {
        Tensor copy = Tensor.allocate(arena, checkDtype(), shape().toArray());
        MemorySegment.copy(data(), 0, copy.segment(), 0, data().byteSize());
        return copy;
    }

    /** The bytes as a vector of {@link DType#U8}, whatever the type is; nothing is copied. */
    default Tensor bytes() {
        return Tensor.wrap(data(), DType.U8, data().byteSize());
    }

    private DType checkDtype() {
        DType dtype = dtype();
        if (dtype == null) {
            throw Check.invalid("tensor " + Text.quote(name()), "type " + type(), "a type of DType, or bytes()");
        }
        long columns = shape().rank() == 0 ? 1 : shape().size(shape().rank() - 1);
        if (columns % 8 * dtype.bits() % 8 != 0) {
            throw Check.invalid(
                    "tensor " + Text.quote(name()), shape() + " of " + type(), "rows of whole bytes, or bytes()");
        }
        return dtype;
    }
}
