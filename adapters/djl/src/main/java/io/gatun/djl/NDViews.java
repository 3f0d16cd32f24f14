package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** Arrays as tensors, for one call: they end with this, and the arrays stay reachable until then. */
final class NDViews implements AutoCloseable {
    /**
     * Where an array's elements are.
     *
     * @param strides in elements
     */
    record Memory(long address, long[] strides) {}

    private final Arena arena = Arena.ofConfined();
    private final List<NDArray> arrays = new ArrayList<>();

    NDViews() {
        DjlVersion.check();
    }

    /** A tensor on the array's memory; null for null. */
    Tensor of(String name, NDArray array) {
        if (array == null) {
            return null;
        }
        if (!array.getDevice().getDeviceType().equals("cpu")) {
            throw unsupported(name, "on " + array.getDevice(), "cpu");
        }
        DType dtype = dtype(name, array);
        Shape shape = Shape.of(array.getShape().getShape());
        arrays.add(array);
        if (shape.elements() == 0) {
            return Tensor.allocate(arena, dtype, array.getShape().getShape());
        }
        Memory memory = memory(name, array);
        long last = 0;
        for (int axis = 0; axis < memory.strides.length; axis++) {
            last += (shape.size(axis) - 1) * memory.strides[axis];
        }
        MemorySegment segment =
                MemorySegment.ofAddress(memory.address).reinterpret((last + 1) * dtype.bits() / 8, arena, null);
        return Tensor.wrap(segment, dtype, shape, memory.strides);
    }

    /** The same with all axes but the last as rows. */
    Tensor matrix(String name, NDArray array) {
        int lastAxis = lastAxis(name, array);
        Tensor tensor = of(name, array);
        if (lastAxis == 1) {
            return tensor;
        }
        if (!tensor.isContiguous()) {
            throw new IllegalArgumentException(
                    name + ": given a view " + array.getShape() + "; allowed: views of two axes, or contiguous arrays");
        }
        long rows = 1;
        for (int axis = 0; axis < lastAxis; axis++) {
            rows *= tensor.shape().size(axis);
        }
        return tensor.reshape(rows, tensor.shape().size(lastAxis));
    }

    /** The number of the last axis, which scalars have not. */
    static int lastAxis(String name, NDArray array) {
        int rank = Objects.requireNonNull(array, name + ": given null; allowed: an array")
                .getShape()
                .dimension();
        if (rank == 0) {
            throw new IllegalArgumentException(name + ": given a scalar; allowed: [..., size]");
        }
        return rank - 1;
    }

    private static DType dtype(String name, NDArray array) {
        return switch (array.getDataType()) {
            case FLOAT32 -> DType.F32;
            case FLOAT16 -> DType.F16;
            case BFLOAT16 -> DType.BF16;
            case INT8 -> DType.I8;
            case UINT8 -> DType.U8;
            case INT32 -> DType.I32;
            default ->
                throw new IllegalArgumentException(name + ": given "
                        + array.getDataType().name() + "; allowed: FLOAT32, FLOAT16, BFLOAT16, INT8, UINT8, INT32");
        };
    }

    private static Memory memory(String name, NDArray array) {
        if (array.isSparse()) {
            throw unsupported(name, "that is sparse", "dense ones");
        }
        String engine = array.getManager().getEngine().getEngineName();
        return switch (engine) {
            case "PyTorch" -> PyTorchMemory.of(name, array);
            case "OnnxRuntime" -> OnnxRuntimeMemory.of(name, array);
            default -> throw unsupported(name, "of the engine " + engine, "PyTorch, OnnxRuntime");
        };
    }

    static UnsupportedOperationException unsupported(String name, String given, String allowed) {
        return new UnsupportedOperationException(name + ": given an array " + given + "; allowed: " + allowed);
    }

    @Override
    public void close() {
        arena.close();
        Reference.reachabilityFence(arrays);
    }
}
