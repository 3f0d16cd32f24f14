package io.gatun.djl;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.Model;
import ai.djl.engine.Engine;
import ai.djl.inference.Predictor;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.onnxruntime.engine.OrtNDArray;
import ai.djl.translate.NoopTranslator;
import ai.djl.util.passthrough.PassthroughNDManager;
import io.gatun.Tensor;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where each engine has its arrays, and what is said of others. */
class EnginesTest {
    /** A tensor begins where its buffer's position was, wherever that is later. */
    @Test
    void positionedBuffers() {
        try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "OnnxRuntime")) {
            FloatBuffer floats = manager.allocateDirect(48).asFloatBuffer();
            long address = MemorySegment.ofBuffer(floats).address();
            for (int i = 0; i < 12; i++) {
                floats.put(i, i);
            }
            NDArray part = manager.create(floats.position(4).limit(6), new Shape(2), DataType.FLOAT32);
            assertArrayEquals(new float[] {4, 5}, NDOps.with(part, Tensor::toFloatArray));
            NDArray first = manager.create(floats.position(0).limit(2), new Shape(2), DataType.FLOAT32);
            assertArrayEquals(new float[] {0, 1}, NDOps.with(first, Tensor::toFloatArray));
            assertEquals(address + 16, (long) NDOps.with(part, Tensor::address));

            ByteBuffer bytes = manager.allocateDirect(8);
            NDArray codes = manager.create(bytes.position(3).limit(5), new Shape(2), DataType.INT8);
            NDOps.with(codes, tensor -> {
                tensor.setFloat(7, 1);
                return null;
            });
            assertEquals(7, bytes.get(4));
        }
    }

    @Test
    void closedTensors() {
        try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "OnnxRuntime")) {
            NDArray array = manager.create(new float[] {1, 2});
            ((OrtNDArray) array).getTensor().close();
            IllegalStateException refused =
                    assertThrows(IllegalStateException.class, () -> NDOps.with(array, Tensor::toFloatArray));
            assertTrue(refused.getMessage().endsWith("given an array whose tensor is closed; allowed: an open one"));
        }
    }

    /** ONNX Runtime copies what is in the heap. */
    @Test
    void copiedBuffers() {
        try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "OnnxRuntime")) {
            NDArray heap =
                    manager.create(FloatBuffer.wrap(new float[] {1, 2, 3}, 1, 2), new Shape(2), DataType.FLOAT32);
            assertArrayEquals(new float[] {2, 3}, NDOps.with(heap, Tensor::toFloatArray));
        }
    }

    @Test
    void outputsOfModels(@TempDir Path folder) throws Exception {
        byte[] type = message(field(1, message(number(1, 1), field(2, message(field(1, field(2, "n")))))));
        byte[] model = message(
                number(1, 8),
                field(8, number(2, 13)),
                field(
                        7,
                        message(
                                field(1, message(field(1, "x"), field(2, "y"), field(4, "Neg"))),
                                field(2, "negated"),
                                field(11, message(field(1, "x"), field(2, type))),
                                field(12, message(field(1, "y"), field(2, type))))));
        Files.write(folder.resolve("negated.onnx"), model);
        try (Model loaded = Model.newInstance("negated", Device.cpu(), "OnnxRuntime")) {
            loaded.load(folder);
            try (Predictor<NDList, NDList> predictor = loaded.newPredictor(new NoopTranslator());
                    NDManager manager = loaded.getNDManager().newSubManager()) {
                NDList outputs = predictor.predict(new NDList(manager.create(new float[] {1, 2, 3})));
                NDArray y = outputs.singletonOrThrow();
                assertArrayEquals(new float[] {-1, -2, -3}, NDOps.with(y, Tensor::toFloatArray));
                NDOps.with(y, tensor -> {
                    tensor.setFloat(9, 2);
                    return null;
                });
                assertArrayEquals(new float[] {-1, -2, 9}, y.toFloatArray());
            }
        }
    }

    /** Fields of a message of protobuf, one after another. */
    private static byte[] message(byte[]... fields) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (byte[] field : fields) {
            bytes.writeBytes(field);
        }
        return bytes.toByteArray();
    }

    private static byte[] field(int number, String text) {
        return field(number, text.getBytes(StandardCharsets.UTF_8));
    }

    private static byte[] field(int number, byte[] content) {
        return message(new byte[] {(byte) (number << 3 | 2), (byte) content.length}, content);
    }

    private static byte[] number(int number, int value) {
        return new byte[] {(byte) (number << 3), (byte) value};
    }

    @Test
    void otherEnginesAndDevicesAreRefused() {
        refuses("of the engine Other; allowed: PyTorch, OnnxRuntime", Device.cpu());
        refuses("on gpu(0); allowed: cpu", Device.gpu());
    }

    private static void refuses(String text, Device device) {
        NDArray array = new PassthroughNDManager(new OtherEngine(), device)
                .create(FloatBuffer.wrap(new float[2]), new Shape(2), DataType.FLOAT32);
        String message = assertThrows(UnsupportedOperationException.class, () -> NDOps.with(array, Tensor::dtype))
                .getMessage();
        assertEquals("array: given an array " + text, message);
    }

    private static final class OtherEngine extends Engine {
        @Override
        public Engine getAlternativeEngine() {
            return null;
        }

        @Override
        public String getEngineName() {
            return "Other";
        }

        @Override
        public int getRank() {
            return 0;
        }

        @Override
        public String getVersion() {
            return "1";
        }

        @Override
        public boolean hasCapability(String capability) {
            return false;
        }

        @Override
        public Model newModel(String name, Device device) {
            throw new UnsupportedOperationException();
        }

        @Override
        public NDManager newBaseManager() {
            throw new UnsupportedOperationException();
        }

        @Override
        public NDManager newBaseManager(Device device) {
            throw new UnsupportedOperationException();
        }
    }
}
