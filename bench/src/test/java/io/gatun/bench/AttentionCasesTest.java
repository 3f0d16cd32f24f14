package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AttentionCasesTest {
    private static final String GRAMMAR =
            "(f32|bf16|f16|int8) (dense \\d+ (full|causal)|(sparse|select (means|antidiagonal)) \\d+ (full|causal) d=\\d+)"
                    + " t=\\d+";

    private static List<String> names(boolean quick, int threads) {
        return AttentionCases.of(new Arguments(null, quick, threads, null, Map.of())).stream()
                .map(AttentionCase::name)
                .toList();
    }

    @Test
    void everyCaseHasItsName() {
        List<String> names = names(false, 2);
        names.forEach(name -> assertTrue(name.matches(GRAMMAR), name));
        names.forEach(name ->
                assertEquals(name, AttentionCase.named(name).orElseThrow().name()));
        assertEquals(names.size(), new HashSet<>(names).size());
        for (String mask : List.of("full", "causal")) {
            for (int length : List.of(2048, 8192)) {
                for (String dtype : List.of("f32", "bf16", "int8")) {
                    assertTrue(names.contains(dtype + " dense " + length + " " + mask + " t=2"), dtype);
                }
            }
            for (int percent : List.of(50, 25, 10, 5)) {
                assertTrue(names.contains("bf16 sparse 8192 " + mask + " d=" + percent + " t=2"), mask);
            }
            for (String method : List.of("means", "antidiagonal")) {
                assertTrue(names.contains("bf16 select " + method + " 8192 " + mask + " d=10 t=2"), mask);
            }
        }
        assertTrue(names.contains("bf16 dense 2048 full t=1"));
    }

    @Test
    void quickHasOneMaskOfManyKeys() {
        List<String> quick = names(true, 2);
        assertTrue(names(false, 2).containsAll(quick));
        assertTrue(quick.containsAll(List.of(
                "bf16 dense 2048 full t=1",
                "bf16 dense 2048 causal t=2",
                "bf16 dense 8192 causal t=2",
                "bf16 sparse 8192 causal d=10 t=2",
                "bf16 select means 8192 causal d=10 t=2")));
        assertEquals(
                List.of(),
                quick.stream().filter(name -> name.contains("8192 full")).toList());
        assertEquals(
                List.of(),
                names(true, 1).stream().filter(name -> !name.endsWith(" t=1")).toList());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "bf16 dense 2048 full d=50 t=2",
                "bf16 sparse 2048 full t=2",
                "bf16 select 2048 full d=50 t=2",
                "bf16 select means 2048 full t=2",
                "int4 dense 2048 full t=2",
                "bf16 dense 2048 t=2",
                "bf16 sparse 8192 causal d=10 t=2 over ideal",
                "mask 8192 causal d=10 t=1",
            })
    void otherNamesAreNoCases(String name) {
        assertTrue(AttentionCase.named(name).isEmpty());
    }

    @Test
    void partsBelongTogether() {
        assertThrows(
                IllegalArgumentException.class,
                () -> new AttentionCase("f32", AttentionCase.Kind.DENSE, null, 64, true, 50, 1));
        assertThrows(
                IllegalArgumentException.class,
                () -> new AttentionCase("f32", AttentionCase.Kind.SPARSE, "means", 64, true, 50, 1));
    }

    @Test
    void causalWorkIsHalf() {
        AttentionCase full = AttentionCase.dense("bf16", 200, false, 1);
        AttentionCase causal = AttentionCase.dense("bf16", 200, true, 1);
        assertEquals(40_000, full.densePairs());
        assertEquals(200 * 201 / 2, causal.densePairs());
        assertEquals(4.0 * 32 * 128 * 40_000, full.operations(full.densePairs()));
        assertEquals(4L * 32 * 200 * 128 * 2, full.bytes());
        assertEquals(4L * 32 * 200 * 128 * 4, full.with("f32").bytes());
    }

    @ParameterizedTest
    @CsvSource({"full, 25", "causal, 25", "full, 50", "causal, 50", "full, 10", "causal, 10"})
    void mapsKeepTheirShareOfEachHead(String mask, int percent) {
        boolean causal = mask.equals("causal");
        AttentionCase problem = AttentionCase.sparse("bf16", 64 * 40 - 5, causal, percent, 1);
        byte[] map = AttentionData.map(problem);
        int blocks = 40;
        long allowed = causal ? blocks * (blocks + 1) / 2 : blocks * blocks;
        assertEquals(AttentionCase.HEADS * blocks * blocks, map.length);
        for (int head = 0; head < AttentionCase.HEADS; head++) {
            int begin = head * blocks * blocks;
            assertEquals(
                    Math.round(allowed * percent / 100.0),
                    IntStream.range(begin, begin + blocks * blocks)
                            .filter(i -> map[i] == 1)
                            .count());
            for (int row = 0; causal && row < blocks; row++) {
                assertEquals(1, map[begin + row * blocks + row]);
                for (int column = row + 1; column < blocks; column++) {
                    assertEquals(0, map[begin + row * blocks + column]);
                }
            }
        }
        assertEquals(percent / 100.0, AttentionData.density(problem, map), 1e-3);
        // Counted one by one.
        long pairs = 0;
        for (int query = 0; query < problem.length(); query++) {
            for (int key = 0; key < (causal ? query + 1 : problem.length()); key++) {
                pairs += map[query / 64 * blocks + key / 64];
            }
        }
        byte[] first = Arrays.copyOf(map, map.length);
        for (int head = 1; head < AttentionCase.HEADS; head++) {
            System.arraycopy(map, 0, first, head * blocks * blocks, blocks * blocks);
        }
        assertEquals(pairs, AttentionData.pairs(problem, first));
    }

    /** The diagonal is kept even if it is more than the share. */
    @Test
    void causalMapsKeepTheDiagonal() {
        AttentionCase problem = AttentionCase.sparse("bf16", 640, true, 5, 1);
        byte[] map = AttentionData.map(problem);
        assertEquals(10.0 / 55, AttentionData.density(problem, map), 1e-9);
    }
}
