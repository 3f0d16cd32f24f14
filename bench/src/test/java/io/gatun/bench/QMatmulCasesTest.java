package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QMatmulCasesTest {
    private static final String GRAMMAR = "(int4|int8) (g\\d+|row) (i8row|i8group|f32) \\d+x\\d+ m=\\d+ t=\\d+"
            + "( tier=(avx2|avxvnni))?( mode=precise)?( odd)?";

    @TempDir
    private Path folder;

    private static List<QMatmulShape> shapes() throws Exception {
        return QMatmulShape.read(BuildTree.root().resolve("bench/shapes/qmatmul.csv"));
    }

    private static List<String> names(boolean quick) throws Exception {
        return QMatmulCases.of(shapes(), new Arguments(null, quick, 2, null, Map.of())).stream()
                .map(QMatmulCase::name)
                .toList();
    }

    @Test
    void everyCaseHasItsName() throws Exception {
        List<String> names = names(false);
        names.forEach(name -> assertTrue(name.matches(GRAMMAR), name));
        assertEquals(names.size(), new HashSet<>(names).size());
        assertTrue(names.containsAll(List.of(
                "int4 g32 i8row 14336x4096 m=512 t=2",
                "int4 g32 i8row 4096x4096 m=8 t=1",
                "int4 g32 i8row 14336x4096 m=128 t=1",
                "int4 g128 i8row 4096x4096 m=512 t=1",
                "int8 row i8row 4096x4096 m=1 t=2",
                "int4 g32 f32 4096x4096 m=512 t=1 mode=precise",
                "int4 g32 i8row 14341x4093 m=509 t=1 odd",
                "int4 g32 i8row 1536x384 m=32 t=1")));
    }

    @Test
    void quickMeansTheMainShape() throws Exception {
        Set<String> names = new HashSet<>(names(true));
        assertTrue(names.containsAll(List.of(
                "int4 g32 i8row 14336x4096 m=1 t=1",
                "int4 g32 i8row 14336x4096 m=8 t=2",
                "int4 g32 i8row 14336x4096 m=512 t=2",
                "int4 g32 i8row 14336x4096 m=512 t=1 tier=avx2",
                "int4 g32 i8row 14336x4096 m=512 t=1 tier=avxvnni")));
        names.forEach(name -> assertTrue(name.contains(" 14336x4096 "), name));
    }

    @Test
    void everyShapeSaysWhereItIsFrom() throws Exception {
        shapes().forEach(shape -> assertFalse(shape.source().isBlank(), shape.toString()));
    }

    @Test
    void refusesShapesThatAreNone() throws Exception {
        Path csv = folder.resolve("shapes.csv");
        Files.writeString(csv, "model,layer,columns,depth,formats,rows,source\nm,l,0,4,all,1,s\n");
        String message =
                assertThrows(Exception.class, () -> QMatmulShape.read(csv)).getMessage();
        assertTrue(message.contains("m l: 0x4 rows 1; allowed: numbers above 0"), message);
        Files.writeString(csv, "model,layer,columns,depth,formats,rows,source\nm,l,4,4,few,1,s\n");
        message = assertThrows(Exception.class, () -> QMatmulShape.read(csv)).getMessage();
        assertTrue(message.contains("formats few; allowed: all, one"), message);
    }

    @Test
    void primes() {
        assertEquals(14341, QMatmulCases.primeFrom(14336, 1));
        assertEquals(4093, QMatmulCases.primeFrom(4096, -1));
    }

    @Test
    void bytesOfWeights() {
        QMatmulCase groups = new QMatmulCase("int4", 32, "i8row", 3, 64, 1, 1, null, false, false);
        assertEquals(3 * 64 / 2 + 3 * 2 * 2, groups.weightBytes());
        QMatmulCase rows = new QMatmulCase("int8", 0, "i8row", 3, 64, 1, 1, null, false, false);
        assertEquals(3 * 64 + 3 * 4, rows.weightBytes());
        assertEquals(2.0 * 3 * 64, rows.operations());
    }

    @Test
    void theKernelSaysWhichLimitBinds() {
        QMatmulCase precise = new QMatmulCase("int4", 32, "f32", 64, 64, 64, 1, null, true, false);
        Limits limits = (kind, tier, threads) -> kind == Limits.Kind.READ ? 1e12 : kind == Limits.Kind.FMA ? 2 : 4;
        double operations = precise.operations();
        assertEquals(
                operations / 2,
                QMatmulWork.of(precise, "qmatmul_f32_u4_f32_x_avx512", limits)
                        .limitSecondsNow()
                        .getAsDouble());
        for (String tier : List.of("avx512vnni", "dotprod", "i8mm")) {
            assertEquals(
                    operations * 3 / 4,
                    QMatmulWork.of(precise, "qmatmul_f32_u4_f32_x_" + tier, limits)
                            .limitSecondsNow()
                            .getAsDouble());
        }
    }
}
