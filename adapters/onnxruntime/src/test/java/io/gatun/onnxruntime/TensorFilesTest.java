package io.gatun.onnxruntime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.onnxruntime.ModelRewriter.Options;
import io.gatun.onnxruntime.proto.Onnx.ModelProto;
import io.gatun.onnxruntime.proto.Onnx.StringStringEntryProto;
import io.gatun.onnxruntime.proto.Onnx.TensorProto;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Models whose tensors lie in files beside them. */
class TensorFilesTest {
    @TempDir
    private Path folder;

    private static float[] wave(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) Math.sin(i);
        }
        return values;
    }

    private static Models model() throws OrtException {
        return new Models()
                .input("x", wave(3 * 64), 3, 64)
                .constant("w", wave(64 * 48), 64, 48)
                .constant("factor", wave(48), 48)
                .node("MatMul", "x,w", "h")
                .node("Mul", "h,factor", "y");
    }

    /** Writes a model with all tensors in another file, from byte 16 on; the last one does not say its length. */
    private Path write(Models model, String location, long shift) throws IOException {
        Path file = Files.createDirectories(folder.resolve("in")).resolve("model.onnx");
        ModelProto.Builder whole = ModelProto.parseFrom(model.bytes()).toBuilder();
        Path data = folder.resolve("in").resolve(location);
        Files.write(data, new byte[16]);
        for (TensorProto.Builder tensor : whole.getGraphBuilder().getInitializerBuilderList()) {
            long offset = Files.size(data) + shift;
            Files.write(data, tensor.getRawData().toByteArray(), java.nio.file.StandardOpenOption.APPEND);
            tensor.setDataLocation(1)
                    .addExternalData(entry("location", location))
                    .addExternalData(entry("offset", Long.toString(offset)));
            if (!tensor.getName().equals("factor")) {
                tensor.addExternalData(
                        entry("length", Long.toString(tensor.getRawData().size())));
            }
            tensor.clearRawData();
        }
        Files.write(file, whole.build().toByteArray());
        return file;
    }

    private static StringStringEntryProto entry(String key, String value) {
        return StringStringEntryProto.newBuilder().setKey(key).setValue(value).build();
    }

    @Test
    void aRewrittenModelHasAFileOfItsOwn() throws OrtException, IOException {
        Path from = write(model(), "weights.bin", 0);
        Path to = Files.createDirectories(folder.resolve("out")).resolve("small.onnx");
        List<String> changes = ModelRewriter.rewrite(from, to, Options.DEFAULT);
        assertEquals(List.of("h_node: MatMul becomes QMatMul by i8 [48, 64], mode INT8_ROW"), changes);
        assertTrue(Files.size(to) < 1000, "tensors are in the other file");
        assertTrue(Files.size(to.resolveSibling("small.onnx.data")) > 48 * 64);
        Models inMemory = model();
        assertArrayEquals(inMemory.run(ModelRewriter.rewrite(inMemory.bytes()).model()), inMemory.run(to));
        assertArrayEquals(inMemory.run(), inMemory.run(from));
    }

    @Test
    void refusals() throws OrtException, IOException {
        Path from = write(model(), "weights.bin", 0);
        assertRefused(
                UnsupportedOperationException.class,
                "w lies in another file; allowed",
                () -> ModelRewriter.rewrite(Files.readAllBytes(from)));
        assertRefused(
                IllegalArgumentException.class,
                "is from; allowed: another file",
                () -> ModelRewriter.rewrite(from, from, Options.DEFAULT));
        Path to = folder.resolve("out.onnx");
        Path data = from.resolveSibling("weights.bin");
        assertRefused(
                IllegalArgumentException.class,
                data + ": no ONNX file",
                () -> ModelRewriter.rewrite(data, to, Options.DEFAULT));
        Path outside = write(model(), "../weights.bin", 0);
        assertRefused(
                IllegalArgumentException.class,
                "a file in the folder of the model",
                () -> ModelRewriter.rewrite(outside, to, Options.DEFAULT));
        byte[] good = Files.readAllBytes(write(model(), "out.onnx.data", 0).resolveSibling("out.onnx.data"));
        Path inside = from.resolveSibling("out.onnx");
        assertRefused(
                IllegalArgumentException.class,
                "where those of the rewritten model are to lie",
                () -> ModelRewriter.rewrite(from, inside, Options.DEFAULT));
        assertArrayEquals(good, Files.readAllBytes(from.resolveSibling("out.onnx.data")));
        Path beyond = write(model(), "weights.bin", 1 << 20);
        assertRefused(
                IllegalArgumentException.class,
                "initializer w has bytes",
                () -> ModelRewriter.rewrite(beyond, to, Options.DEFAULT));
        Files.delete(folder.resolve("in/weights.bin"));
        assertThrows(IOException.class, () -> ModelRewriter.rewrite(beyond, to, Options.DEFAULT));
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(
                    List.of(folder.resolve("in"), folder.resolve("weights.bin")),
                    files.sorted().toList());
        }
    }

    private interface Act {
        Object run() throws IOException;
    }

    private static void assertRefused(Class<? extends Exception> type, String expected, Act act) {
        String message = assertThrows(type, act::run).getMessage();
        assertTrue(message.contains(expected), message);
    }
}
