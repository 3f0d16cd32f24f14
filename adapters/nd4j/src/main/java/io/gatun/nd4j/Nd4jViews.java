package io.gatun.nd4j;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** Arrays as tensors, for one call: they end with this, and the arrays stay reachable until then. */
final class Nd4jViews implements AutoCloseable {
    private final Arena arena = Arena.ofConfined();
    private final List<INDArray> arrays = new ArrayList<>();

    Nd4jViews() {
        Nd4jVersion.check();
    }

    /** A tensor on the array's memory; null for null. */
    Tensor of(String name, INDArray array) {
        if (array == null) {
            return null;
        }
        if (!Nd4j.getBackend().getClass().getSimpleName().equals("CpuBackend")) {
            throw new UnsupportedOperationException(name + ": given an array of "
                    + Nd4j.getBackend().getClass().getSimpleName() + "; allowed: CpuBackend");
        }
        DType dtype = dtype(name, array);
        Shape shape = Shape.of(array.shape());
        arrays.add(array);
        if (shape.elements() == 0) {
            return Tensor.allocate(arena, dtype, array.shape());
        }
        long[] strides = array.stride().clone();
        long last = 0;
        for (int axis = 0; axis < strides.length; axis++) {
            if (strides[axis] < 0) {
                throw new UnsupportedOperationException(
                        name + ": given a view of stride " + strides[axis] + "; allowed: 0 or more");
            }
            last += (shape.size(axis) - 1) * strides[axis];
        }
        long address = array.data().address() + array.offset() * array.data().getElementSize();
        MemorySegment segment =
                MemorySegment.ofAddress(address).reinterpret((last + 1) * dtype.bits() / 8, arena, null);
        return Tensor.wrap(segment, dtype, shape, strides);
    }

    /** The same with all axes but the last as rows. */
    Tensor matrix(String name, INDArray array) {
        int lastAxis = lastAxis(name, array);
        Tensor tensor = of(name, array);
        if (lastAxis == 1) {
            return tensor;
        }
        if (!tensor.isContiguous()) {
            throw new IllegalArgumentException(name + ": given a view, or order f, of shape " + tensor.shape()
                    + "; allowed: two axes, or contiguous arrays in order c");
        }
        long rows = 1;
        for (int axis = 0; axis < lastAxis; axis++) {
            rows *= tensor.shape().size(axis);
        }
        return tensor.reshape(rows, tensor.shape().size(lastAxis));
    }

    /** The number of the last axis, which scalars have not. */
    static int lastAxis(String name, INDArray array) {
        int rank = Objects.requireNonNull(array, name + ": given null; allowed: an array")
                .rank();
        if (rank == 0) {
            throw new IllegalArgumentException(name + ": given a scalar; allowed: [..., size]");
        }
        return rank - 1;
    }

    private static DType dtype(String name, INDArray array) {
        return switch (array.dataType()) {
            case FLOAT -> DType.F32;
            case HALF -> DType.F16;
            case BFLOAT16 -> DType.BF16;
            case BYTE -> DType.I8;
            case UBYTE -> DType.U8;
            case INT -> DType.I32;
            default ->
                throw new IllegalArgumentException(
                        name + ": given " + array.dataType() + "; allowed: FLOAT, HALF, BFLOAT16, INT8, UINT8, INT32");
        };
    }

    @Override
    public void close() {
        arena.close();
        Reference.reachabilityFence(arrays);
    }
}
