package io.gatun.onnxruntime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The ops themselves, and what they refuse. */
class GatunOpsTest {
    private static final float[] ROW = new float[32];

    private static byte[] packed() {
        float[] weights = new float[20 * 32];
        Arrays.fill(weights, 1);
        return QMatmul.pack(Tensor.of(weights, 20, 32), QuantSpec.int8())
                .segment()
                .toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
    }

    private static void assertRefused(String expected, Models model) {
        String message = assertThrows(OrtException.class, model::run).getMessage();
        assertTrue(message.contains(expected), message);
    }

    @Test
    void oldReleasesAreRefused() {
        GatunOps.checkVersion("1.17.0");
        GatunOps.checkVersion("2.0.0-rc1");
        for (String version : new String[] {"1.16.3", "0.17.0", "x"}) {
            String message = assertThrows(UnsupportedOperationException.class, () -> GatunOps.checkVersion(version))
                    .getMessage();
            assertEquals("ONNX Runtime " + version + "; allowed: 1.17 or newer", message);
        }
    }

    @Test
    void aMissingLibraryIsTold() throws OrtException {
        System.setProperty(GatunOps.PATH_PROPERTY, "/nowhere");
        try (var options = new ai.onnxruntime.OrtSession.SessionOptions()) {
            String message = assertThrows(UnsatisfiedLinkError.class, () -> GatunOps.register(options))
                    .getMessage();
            assertTrue(message.contains("gatun.onnxruntime.library.path=/nowhere: there is no file"), message);
        } finally {
            System.clearProperty(GatunOps.PATH_PROPERTY);
        }
    }

    @Test
    void qMatMulRefuses() throws OrtException {
        String domain = ModelRewriter.DOMAIN;
        byte[] packed = packed();
        assertRefused(
                "x has the shape [1, 31]; allowed: [..., 32]",
                new Models()
                        .input("x", new float[31], 1, 31)
                        .constant("w", packed, packed.length)
                        .nodeOf(domain, "QMatMul", "x,w", "y"));
        assertRefused(
                "bias has the shape [19]; allowed: [20]",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", packed, packed.length)
                        .constant("b", new float[19], 19)
                        .nodeOf(domain, "QMatMul", "x,w,b", "y"));
        assertRefused(
                "residual has the shape [1, 21]; allowed: that of y, [1, 20]",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", packed, packed.length)
                        .constant("r", new float[21], 1, 21)
                        .nodeOf(domain, "QMatMul", "x,w,,r", "y"));
        assertRefused(
                "attribute mode = INT9; allowed: INT8_ROW, INT8_GROUP, PRECISE, BF16",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", packed, packed.length)
                        .nodeOf(domain, "QMatMul", "x,w", "y", "mode", "INT9"));
        assertRefused(
                "packed",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", new byte[] {1, 2, 3}, 3)
                        .nodeOf(domain, "QMatMul", "x,w", "y"));
        assertRefused(
                "packed",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", packed, packed.length)
                        .nodeOf(domain, "NmMatMul", "x,w", "y"));
        assertRefused(
                "packed",
                new Models()
                        .input("x", ROW, 1, 32)
                        .constant("w", Arrays.copyOf(packed, packed.length - 1), packed.length - 1)
                        .nodeOf(domain, "QMatMul", "x,w", "y"));
    }

    @Test
    void noRows() throws OrtException {
        byte[] packed = packed();
        Models model = new Models()
                .input("x", new float[0], 0, 32)
                .constant("w", packed, packed.length)
                .nodeOf(ModelRewriter.DOMAIN, "QMatMul", "x,w", "y");
        assertEquals(0, model.run().length);
    }

    /** Against the definition in double, in both layouts. */
    @ParameterizedTest
    @CsvSource({"BHLD, false", "BLHD, false", "BHLD, true"})
    void attention(String layout, boolean causal) throws OrtException {
        int batch = 2;
        int heads = 4;
        int kvHeads = 2;
        int length = 19;
        int size = 24;
        boolean rowsFirst = layout.equals("BLHD");
        Random random = new Random(3);
        float[] q = random(random, batch * heads * length * size);
        float[] k = random(random, batch * kvHeads * length * size);
        float[] v = random(random, batch * kvHeads * length * size);
        Models model = new Models()
                .input("q", q, shape(rowsFirst, batch, heads, length, size))
                .input("k", k, shape(rowsFirst, batch, kvHeads, length, size))
                .input("v", v, shape(rowsFirst, batch, kvHeads, length, size))
                .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,k,v", "y", "layout", layout, "causal", causal ? 1 : 0);
        float[] out = model.run();
        for (int b = 0; b < batch; b++) {
            for (int h = 0; h < heads; h++) {
                for (int i = 0; i < length; i++) {
                    double[] sum = new double[size];
                    double total = 0;
                    for (int j = 0; j < (causal ? i + 1 : length); j++) {
                        double dot = 0;
                        for (int d = 0; d < size; d++) {
                            dot += (double) q[at(rowsFirst, b, h, i, heads, length, size) + d]
                                    * k[at(rowsFirst, b, h / 2, j, kvHeads, length, size) + d];
                        }
                        double weight = Math.exp(dot / Math.sqrt(size));
                        total += weight;
                        for (int d = 0; d < size; d++) {
                            sum[d] += weight * v[at(rowsFirst, b, h / 2, j, kvHeads, length, size) + d];
                        }
                    }
                    for (int d = 0; d < size; d++) {
                        assertEquals(sum[d] / total, out[at(rowsFirst, b, h, i, heads, length, size) + d], 2e-6);
                    }
                }
            }
        }
    }

    private static float[] random(Random random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static long[] shape(boolean rowsFirst, long batch, long heads, long length, long size) {
        return rowsFirst ? new long[] {batch, length, heads, size} : new long[] {batch, heads, length, size};
    }

    private static int at(boolean rowsFirst, int b, int h, int i, int heads, int length, int size) {
        return rowsFirst ? ((b * length + i) * heads + h) * size : ((b * heads + h) * length + i) * size;
    }

    /** Each block of 16 rows sees the block of keys of its own number, of one head one more. */
    @Test
    void attentionToBlocks() throws OrtException {
        int length = 40;
        int size = 8;
        Random random = new Random(5);
        float[] q = random(random, 2 * length * size);
        float[] v = random(random, 2 * length * size);
        Models model = new Models()
                .input("q", q, 1, 2, length, size)
                .input("v", v, 1, 2, length, size)
                .constant("full_offsets", new long[] {0, 1, 2, 3, 4, 6, 7}, 7)
                .constant("full_blocks", new int[] {0, 1, 2, 0, 0, 1, 2}, 7)
                .constant("partial_offsets", new long[7], 7)
                .constant("partial_blocks", new int[0], 0)
                .nodeOf(
                        ModelRewriter.DOMAIN,
                        "Attention",
                        "q,q,v,full_offsets,full_blocks,partial_offsets,partial_blocks",
                        "y",
                        "query_block",
                        16,
                        "key_block",
                        16,
                        "scale",
                        0.25f);
        float[] out = model.run();
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < length; i++) {
                int begin = h == 1 && i / 16 == 1 ? 0 : i / 16 * 16;
                double total = 0;
                double first = 0;
                for (int j = begin; j < Math.min(i / 16 * 16 + 16, length); j++) {
                    double dot = 0;
                    for (int d = 0; d < size; d++) {
                        dot += (double) q[(h * length + i) * size + d] * q[(h * length + j) * size + d];
                    }
                    total += Math.exp(0.25 * dot);
                    first += Math.exp(0.25 * dot) * v[(h * length + j) * size];
                }
                assertEquals(first / total, out[(h * length + i) * size], 2e-6, h + " " + i);
            }
        }
    }

    @Test
    void attentionRefuses() throws OrtException {
        String domain = ModelRewriter.DOMAIN;
        assertRefused(
                "k and v of the same length",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .input("k", new float[24], 1, 1, 3, 8)
                        .input("v", new float[32], 1, 1, 4, 8)
                        .nodeOf(domain, "Attention", "q,k,v", "y"));
        assertRefused(
                "key_mask has the shape [1, 3]; allowed: [1 or 1, 4]",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .constant("m", new long[] {1, 1, 1}, 1, 3)
                        .nodeOf(domain, "Attention", "q,q,q,,,,,,m", "y"));
        assertRefused(
                "allowed: alone",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .constant("m", new long[] {1, 1, 1, 0}, 1, 4)
                        .nodeOf(domain, "Attention", "q,q,q,,,,,,m", "y", "causal", 1));
        assertRefused(
                "full_offsets[0] = 0, then 5; allowed: ascending, 0..1",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .constant("o", new long[] {0, 5}, 2)
                        .constant("b", new int[] {0}, 1)
                        .nodeOf(domain, "Attention", "q,q,q,o,b,o,b", "y"));
    }

    /** Every attribute does what the option of Gatun's operation does, bit for bit. */
    @Test
    void attributesAreOptions() throws OrtException {
        Map<String, Attention.Options> all = Map.of(
                "mode=INT8", Attention.Options.DEFAULT.withMode(Attention.Mode.INT8),
                "soft_cap=2f", Attention.Options.DEFAULT.withSoftCap(2),
                "scale=0.5f", Attention.Options.DEFAULT.withScale(0.5f),
                "window_left=3,window_right=1", Attention.Options.DEFAULT.withWindow(3, 1),
                "window_left=3,sink_keys=2,causal=1",
                        Attention.Options.DEFAULT
                                .withWindow(3, -1)
                                .withSinkKeys(2)
                                .withCausal());
        Random random = new Random(6);
        float[] q = random(random, 2 * 2 * 21 * 16);
        Tensor tensor = Tensor.of(q, 2, 2, 21, 16);
        float[] plain = null;
        for (Map.Entry<String, Attention.Options> each : all.entrySet()) {
            List<Object> attributes = new ArrayList<>();
            for (String text : each.getKey().split("[,=]")) {
                attributes.add(
                        text.matches("\\d+")
                                ? (Object) Integer.valueOf(text)
                                : text.matches("[\\d.]+f") ? (Object) Float.valueOf(text) : text);
            }
            float[] out = new Models()
                    .input("q", q, 2, 2, 21, 16)
                    .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q", "y", attributes.toArray())
                    .run();
            Tensor expected = Tensor.allocate(DType.F32, 2, 2, 21, 16);
            Attention.run(tensor, tensor, tensor, expected, each.getValue());
            assertArrayEquals(expected.toFloatArray(), out, each.getKey());
            assertFalse(Arrays.equals(plain, out), "options that change nothing: " + each.getKey());
            plain = out;
        }
    }

    @Test
    void attributesAreChecked() throws OrtException {
        for (int block : new int[] {0, 8, 24, 144, -16}) {
            for (String name : new String[] {"query_block", "key_block"}) {
                assertRefused(
                        name + " = " + block,
                        new Models()
                                .input("q", new float[32], 1, 1, 4, 8)
                                .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q", "y", name, block));
            }
        }
        assertRefused(
                "attribute causal is a float; allowed: an integer",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q", "y", "causal", 1.0f));
        assertRefused(
                "attribute scale is an integer; allowed: a float",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q", "y", "scale", 1));
        assertRefused(
                "attribute layout is an integer; allowed: a text",
                new Models()
                        .input("q", new float[32], 1, 1, 4, 8)
                        .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q", "y", "layout", 1));
    }

    /** A mask of one row is that of all batch items. */
    @Test
    void aKeyMaskOfOneRow() throws OrtException {
        Random random = new Random(8);
        float[] q = random(random, 3 * 2 * 5 * 8);
        Models one = new Models()
                .input("q", q, 3, 2, 5, 8)
                .constant("m", new long[] {1, 0, 1, 1, 0}, 1, 5)
                .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q,,,,,,m", "y");
        Models each = new Models()
                .input("q", q, 3, 2, 5, 8)
                .constant("m", new long[] {1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0}, 3, 5)
                .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q,,,,,,m", "y");
        assertArrayEquals(each.run(), one.run());
    }

    /** Sessions of several threads share one file of the library, and give the same numbers. */
    @Test
    void sessionsOfSeveralThreads() throws Exception {
        byte[] packed = packed();
        Random random = new Random(9);
        Models model = new Models()
                .input("x", random(random, 300 * 32), 300, 32)
                .constant("w", packed, packed.length)
                .nodeOf(ModelRewriter.DOMAIN, "QMatMul", "x,w", "y");
        float[] expected = model.run();
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Future<float[]>> runs = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                runs.add(threads.submit(() -> model.run()));
            }
            for (Future<float[]> run : runs) {
                assertArrayEquals(expected, run.get());
            }
        }
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            assertEquals(
                    1,
                    maps.filter(line -> line.contains("libgatun_onnxruntime"))
                            .map(line -> line.substring(line.indexOf('/')))
                            .distinct()
                            .count());
        }
    }

    @Test
    void keysThatAreAllHiddenGiveZeros() throws OrtException {
        Models model = new Models()
                .input("q", new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 1, 1, 1, 8)
                .constant("m", new long[] {0}, 1, 1)
                .nodeOf(ModelRewriter.DOMAIN, "Attention", "q,q,q,,,,,,m", "y");
        for (float value : model.run()) {
            assertEquals(0, value);
        }
    }
}
