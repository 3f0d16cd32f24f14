package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.onnxruntime.engine.OrtNDArray;
import ai.onnxruntime.OnnxTensor;
import io.gatun.djl.NDViews.Memory;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;

/**
 * Asks ONNX Runtime where a tensor is, by a method of OnnxTensor that is not public. What is public copies, or tells of
 * the buffer that a tensor was made from: its position, which says where the tensor begins, may have moved since then.
 */
final class OnnxRuntimeMemory {
    private static final Method BUFFER = buffer();

    private OnnxRuntimeMemory() {}

    static Memory of(String name, NDArray array) {
        if (BUFFER == null) {
            throw NDViews.unsupported(
                    name,
                    "of an ONNX Runtime without OnnxTensor.getBuffer()",
                    "the one that DJL names as its dependency");
        }
        // getBuffer() does not check: it would read what was freed.
        OnnxTensor tensor = ((OrtNDArray) array).getTensor();
        if (tensor == null || tensor.isClosed()) {
            throw new IllegalStateException(name + ": given an array whose tensor is closed; allowed: an open one");
        }
        long[] sizes = array.getShape().getShape();
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int axis = sizes.length - 1; axis >= 0; axis--) {
            strides[axis] = stride;
            stride *= sizes[axis];
        }
        try {
            ByteBuffer memory = (ByteBuffer) BUFFER.invoke(tensor);
            return new Memory(MemorySegment.ofBuffer(memory).address(), strides);
        } catch (IllegalAccessException | InvocationTargetException e) {
            throw new IllegalStateException("ONNX Runtime does not tell where an array " + array.getShape() + " is", e);
        }
    }

    /** null where ONNX Runtime has none, or does not let it be called. */
    private static Method buffer() {
        try {
            Method method = OnnxTensor.class.getDeclaredMethod("getBuffer");
            return method.trySetAccessible() ? method : null;
        } catch (NoSuchMethodException e) {
            return null;
        }
    }
}
