package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.onnxruntime.engine.OrtNDArray;
import io.gatun.djl.NDViews.Memory;
import java.lang.foreign.MemorySegment;
import java.nio.Buffer;

/** The direct buffer behind a tensor that was made in Java. */
final class OnnxRuntimeMemory {
    private OnnxRuntimeMemory() {}

    static Memory of(String name, NDArray array) {
        Buffer buffer = ((OrtNDArray) array).getTensor().getBufferRef().orElse(null);
        if (buffer == null || !buffer.isDirect()) {
            throw NDViews.unsupported(
                    name,
                    "whose memory is ONNX Runtime's own",
                    "arrays that were made in Java; duplicate() makes one, with a copy");
        }
        long[] sizes = array.getShape().getShape();
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int axis = sizes.length - 1; axis >= 0; axis--) {
            strides[axis] = stride;
            stride *= sizes[axis];
        }
        return new Memory(MemorySegment.ofBuffer(buffer.duplicate().clear()).address(), strides);
    }
}
