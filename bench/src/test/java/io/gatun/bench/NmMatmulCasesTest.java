package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NmMatmulCasesTest {
    private static final String GRAMMAR = "(f32|bf16|int8|int4 g64) \\d+:\\d+ \\d+x\\d+ m=\\d+ t=\\d+";

    private static List<QMatmulShape> shapes() throws Exception {
        return QMatmulShape.read(BuildTree.root().resolve("bench/shapes/nm_matmul.csv"));
    }

    @ParameterizedTest
    @CsvSource({"14336x4096, Llama-3-8B", "1536x384, given"})
    void oneShapeAlone(String shape, String model) throws Exception {
        Arguments arguments = new Arguments(null, false, 2, shape, Map.of());
        List<QMatmulShape> chosen = QMatmulShape.chosen(shapes(), arguments);
        assertEquals(List.of(model), chosen.stream().map(QMatmulShape::model).toList());
        List<NmMatmulCase> cases = NmMatmulCases.of(chosen, arguments);
        assertEquals(
                names(false).stream()
                        .filter(name -> name.contains("4096x4096"))
                        .map(name -> name.replace("4096x4096", shape))
                        .toList(),
                cases.stream().map(NmMatmulCase::name).toList());
    }

    private static List<String> names(boolean quick) throws Exception {
        return NmMatmulCases.of(shapes(), new Arguments(null, quick, 2, null, Map.of())).stream()
                .map(NmMatmulCase::name)
                .toList();
    }

    @Test
    void everyCaseHasItsName() throws Exception {
        List<String> names = names(false);
        names.forEach(name -> assertTrue(name.matches(GRAMMAR), name));
        names.forEach(name ->
                assertEquals(name, NmMatmulCase.named(name).orElseThrow().name()));
        assertEquals(names.size(), new HashSet<>(names).size());
        for (String shape : List.of("14336x4096", "4096x4096")) {
            for (int threads : List.of(1, 2)) {
                for (String kind :
                        List.of("f32 2:4", "f32 1:4", "f32 1:8", "f32 4:8", "f32 2:8", "f32 1:16", "bf16 2:4")) {
                    assertTrue(names.contains(kind + " " + shape + " m=512 t=" + threads), kind);
                }
                for (String kind : List.of("f32 2:4", "bf16 2:4", "int8 2:4", "int4 g64 2:4")) {
                    for (int rows : List.of(1, 8, 64, 512)) {
                        assertTrue(names.contains(kind + " " + shape + " m=" + rows + " t=" + threads), kind);
                    }
                }
            }
        }
    }

    @Test
    void quickHasWhatIsToBeReachedOnTheSmallestShape() throws Exception {
        assertEquals(
                Set.of(
                        "f32 2:4 4096x4096 m=512 t=1",
                        "f32 2:4 4096x4096 m=512 t=2",
                        "f32 1:4 4096x4096 m=512 t=1",
                        "f32 1:8 4096x4096 m=512 t=1",
                        "bf16 2:4 4096x4096 m=512 t=1",
                        "bf16 2:4 4096x4096 m=1 t=1",
                        "int8 2:4 4096x4096 m=1 t=1",
                        "int8 2:4 4096x4096 m=512 t=1",
                        "int4 g64 2:4 4096x4096 m=1 t=1",
                        "int4 g64 2:4 4096x4096 m=512 t=1"),
                Set.copyOf(names(true)));
    }

    @Test
    void everyShapeSaysWhereItIsFrom() throws Exception {
        shapes().forEach(shape -> assertFalse(shape.source().isBlank(), shape.toString()));
    }

    @Test
    void otherNamesAreNoCases() {
        for (String name : List.of(
                "f32 2:4 8x8 m=1 t=1 speedup",
                "prune+compress f32 2:4 8x8 t=1",
                "int4 g32 i8row 8x8 m=1 t=1",
                "f64 2:4 8x8 m=1 t=1")) {
            assertTrue(NmMatmulCase.named(name).isEmpty(), name);
        }
    }

    /** A row's values, indices and scales. */
    @ParameterizedTest
    @CsvSource({
        "f32, 0, 2, 4, 64, 128, 8, 0",
        "f32, 0, 1, 8, 61, 32, 4, 0",
        "bf16, 0, 2, 4, 61, 64, 8, 0",
        "int8, 0, 4, 8, 64, 32, 16, 4",
        "int8, 0, 3, 32, 96, 9, 9, 4",
        "int4, 64, 2, 4, 128, 32, 16, 4",
        "int4, 64, 1, 2, 130, 33, 17, 6",
    })
    void bytesAndOperationsAreThoseOfKeptWeights(
            String values, int group, int n, int m, long depth, long valueBytes, long indexBytes, long scaleBytes) {
        NmMatmulCase problem = new NmMatmulCase(values, group, n, m, 3, depth, 5, 1);
        assertEquals(3 * (valueBytes + indexBytes + scaleBytes), problem.weightBytes());
        assertEquals(2.0 * 5 * 3 * Math.ceilDiv(depth, m) * n, problem.operations());
    }

    @ParameterizedTest
    @CsvSource({
        "f32, 0, 2, 4, 203",
        "bf16, 0, 1, 8, 64",
        "int8, 0, 5, 16, 203",
        "int4, 64, 2, 4, 203",
        "f32, 0, 4, 4, 9"
    })
    void weightsHaveZerosWhereNothingIsKept(String values, int group, int n, int m, int depth) {
        NmMatmulCase problem = new NmMatmulCase(values, group, n, m, 67, depth, 3, 1);
        NmMatmulData data = new NmMatmulData(problem, null);
        byte zero = (byte) (values.equals("int4") ? 8 : 0);
        int different = 0;
        for (int row = 0; row < 67; row++) {
            for (int begin = 0; begin < depth; begin += m) {
                int size = Math.min(m, depth - begin);
                int kept = 0;
                for (int k = begin; k < begin + size; k++) {
                    boolean keeps = data.isKept(row, k);
                    kept += keeps ? 1 : 0;
                    assertTrue(keeps || data.dense.codes[row * depth + k] == zero);
                    different += keeps == data.isKept(0, k) ? 0 : 1;
                }
                assertEquals(Math.min(n, size), kept);
            }
        }
        assertEquals(n == m, different == 0, "rows keep the same positions");
    }

    @Test
    void copiesOfEitherFormFillTheRotation() {
        NmMatmulCase problem = new NmMatmulCase("int8", 0, 2, 4, 2048, 8192, 1, 1);
        NmMatmulData data = new NmMatmulData(problem, null);
        assertTrue(data.copies * problem.weightBytes() >= 512L << 20);
        assertTrue((data.copies - 1) * problem.weightBytes() < 512L << 20);
        assertEquals(32, data.dense.copies);
        assertEquals(1, new NmMatmulData(problem.withRows(17), data).copies);
        assertEquals(1, new NmMatmulData(problem.withRows(17), data).dense.copies);
    }

    @Test
    void sharesWeightsOfTheSameCaseOnly() {
        NmMatmulCase problem = new NmMatmulCase("f32", 0, 2, 4, 67, 203, 17, 1);
        NmMatmulData data = new NmMatmulData(problem, null);
        NmMatmulData more = new NmMatmulData(problem.withRows(20).withThreads(2), data);
        assertSame(data.dense.codes, more.dense.codes);
        assertSame(data.mask, more.mask);
        assertEquals(20 * 203, more.dense.x.length);
        NmMatmulData other = new NmMatmulData(new NmMatmulCase("f32", 0, 1, 4, 67, 203, 17, 1), data);
        assertNotEquals(data.mask, other.mask);
    }

    /** So that dense peers in bf16 multiply by the same weights. */
    @Test
    void floatsAreExactInBf16() {
        NmMatmulData data = new NmMatmulData(new NmMatmulCase("bf16", 0, 2, 4, 67, 203, 17, 1), null);
        for (int row = 0; row < 67; row++) {
            float scale = data.dense.scales[row];
            assertEquals(0, Float.floatToIntBits(scale) & 0x7fffff, "a power of two");
            for (int k = 0; k < 203; k++) {
                float weight = data.dense.codes[row * 203 + k] * scale;
                assertEquals(0, Float.floatToIntBits(weight) & 0xffff);
            }
        }
    }
}
