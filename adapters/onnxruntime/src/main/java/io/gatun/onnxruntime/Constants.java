package io.gatun.onnxruntime;

import com.google.protobuf.ByteString;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Reads constant tensors of ONNX models whose numbers lie in them, see {@link TensorFiles}. */
final class Constants {
    static final int FLOAT = 1;
    static final int UINT8 = 2;
    static final int INT64 = 7;

    private Constants() {}

    static long elements(TensorProto tensor) {
        return tensor.getDimsList().stream().reduce(1L, Math::multiplyExact);
    }

    /** Whether it is [size]: with more axes, sums with it could have more axes, too. */
    static boolean isVector(TensorProto tensor, long size) {
        return tensor.getDimsCount() == 1 && tensor.getDims(0) == size;
    }

    /** Whether it is one number, without axes that results could get from it. */
    static boolean isNumber(TensorProto tensor) {
        return tensor.getDimsCount() <= 1 && elements(tensor) == 1;
    }

    /** The numbers of a tensor of 64-bit integers; null if it has other ones. */
    static List<Long> integers(TensorProto tensor) {
        if (tensor.getDataType() != INT64) {
            return null;
        }
        if (!tensor.hasRawData()) {
            return tensor.getInt64DataList();
        }
        LongBuffer raw = checkSize(tensor, Long.BYTES * elements(tensor))
                .asReadOnlyByteBuffer()
                .order(ByteOrder.LITTLE_ENDIAN)
                .asLongBuffer();
        List<Long> values = new ArrayList<>();
        while (raw.hasRemaining()) {
            values.add(raw.get());
        }
        return values;
    }

    /** A float tensor's numbers. */
    static float[] floats(TensorProto tensor) {
        float[] values = new float[Math.toIntExact(elements(tensor))];
        if (tensor.hasRawData()) {
            ByteString raw = checkSize(tensor, 4L * values.length);
            raw.asReadOnlyByteBuffer()
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(values);
        } else {
            if (tensor.getFloatDataCount() != values.length) {
                throw wrongSize(tensor, tensor.getFloatDataCount() + " numbers", values.length);
            }
            for (int i = 0; i < values.length; i++) {
                values[i] = tensor.getFloatData(i);
            }
        }
        return values;
    }

    /** A tensor of bytes in another shape of the same size. */
    static Tensor bytes(TensorProto tensor, long... shape) {
        long size = Arrays.stream(shape).reduce(1, Math::multiplyExact);
        byte[] values;
        if (tensor.hasRawData()) {
            values = checkSize(tensor, size).toByteArray();
        } else {
            if (tensor.getInt32DataCount() != size) {
                throw wrongSize(tensor, tensor.getInt32DataCount() + " numbers", size);
            }
            values = new byte[Math.toIntExact(size)];
            for (int i = 0; i < values.length; i++) {
                values[i] = (byte) tensor.getInt32Data(i);
            }
        }
        return Tensor.of(DType.U8, values, shape);
    }

    private static ByteString checkSize(TensorProto tensor, long bytes) {
        if (tensor.getRawData().size() != bytes) {
            throw wrongSize(tensor, tensor.getRawData().size() + " bytes", bytes);
        }
        return tensor.getRawData();
    }

    private static IllegalArgumentException wrongSize(TensorProto tensor, String given, long wanted) {
        return new IllegalArgumentException("initializer " + tensor.getName() + " of shape " + tensor.getDimsList()
                + " has " + given + "; allowed: " + wanted);
    }
}
