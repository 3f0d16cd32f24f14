package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.DecodeCase.Cache;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DecodeCasesTest {
    private static final String GRAMMAR =
            "(bf16|f16|int8|int4|int4 g32|int2) (top=10% )?kv=(8192|32768) heads=32/(32|8) t=\\d+";

    private static List<String> names(boolean quick, int threads) {
        return DecodeCases.of(new Arguments(null, quick, threads, null, Map.of())).stream()
                .map(DecodeCase::name)
                .toList();
    }

    @Test
    void everyCaseHasItsName() {
        List<String> names = names(false, 2);
        names.forEach(name -> assertTrue(name.matches(GRAMMAR), name));
        names.forEach(
                name -> assertEquals(name, DecodeCase.named(name).orElseThrow().name()));
        assertEquals(names.size(), new HashSet<>(names).size());
        for (String cache : List.of("bf16", "f16", "int8", "int4", "int4 g32", "int2")) {
            for (String problem : List.of("kv=8192 heads=32/32", "kv=8192 heads=32/8", "kv=32768 heads=32/32")) {
                assertTrue(names.contains(cache + " " + problem + " t=1"), cache);
                assertTrue(names.contains(cache + " " + problem + " t=2"), cache);
            }
        }
        for (String cache : List.of("bf16", "int8", "int4")) {
            assertTrue(names.contains(cache + " top=10% kv=32768 heads=32/8 t=1"), cache);
        }
    }

    /** Every number of keys and of heads, and a selection of each. */
    @Test
    void quickHasTheMainTypesOnOneThread() {
        List<String> quick = names(true, 2);
        assertTrue(names(false, 2).containsAll(quick));
        for (String cache : List.of("bf16", "int8", "int4", "bf16 top=10%")) {
            for (String keys : List.of("8192", "32768")) {
                for (String heads : List.of("32", "8")) {
                    assertTrue(quick.contains(cache + " kv=" + keys + " heads=32/" + heads + " t=1"), cache);
                }
            }
        }
        assertEquals(
                List.of(), quick.stream().filter(name -> !name.endsWith(" t=1")).toList());
    }

    /** Inputs are made anew for each kind of cache, number of keys and of heads. */
    @Test
    void casesOfOneInputFollowEachOther() {
        List<String> inputs = DecodeCases.of(new Arguments(null, false, 2, null, Map.of())).stream()
                .map(problem -> problem.cache() + " " + problem.keys() + " " + problem.heads())
                .toList();
        long changes = 1;
        for (int i = 1; i < inputs.size(); i++) {
            changes += inputs.get(i).equals(inputs.get(i - 1)) ? 0 : 1;
        }
        assertEquals(new HashSet<>(inputs).size(), changes);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "bf16 kv=8192 heads=16/8 t=1",
                "f32 kv=8192 heads=32/8 t=1",
                "int8 g32 kv=8192 heads=32/8 t=1",
                "bf16 top=10 kv=8192 heads=32/8 t=1",
                "bf16 kv=8192 heads=32/8",
                "bf16 kv=8192 heads=32/8 t=1 speedup",
                "bf16 8192 full t=1",
            })
    void otherNamesAreNoCases(String name) {
        assertTrue(DecodeCase.named(name).isEmpty());
    }

    /** A row of 128 in codes, a scale in f16 for each group, and as many zero points. */
    @ParameterizedTest
    @CsvSource({"BF16, 256", "F16, 256", "INT8, 130", "INT4, 68", "INT4_GROUPS, 80", "INT2, 36"})
    void bytesAreThoseOfTheFormat(Cache cache, long bytes) {
        assertEquals(bytes, cache.bytes());
        assertEquals(bytes, GatunCaches.format(cache).bytesPerToken(DecodeCase.HEAD_SIZE));
        DecodeCase problem = DecodeCase.all(cache, 8192, 8, 1);
        assertEquals(2 * 8 * 8192 * bytes, problem.bytes());
    }

    @Test
    void headsThatShareKeysDoNotChangeTheWork() {
        DecodeCase own = DecodeCase.all(Cache.BF16, 1000, 32, 1);
        DecodeCase shared = DecodeCase.all(Cache.BF16, 1000, 8, 1);
        assertEquals(4.0 * 32 * 128 * 1000, own.operations());
        assertEquals(own.operations(), shared.operations());
        assertEquals(own.bytes(), 4 * shared.bytes());
        assertEquals(4, shared.sharing());
    }

    /** Of 16 pages, the last of which has 40 keys, a tenth, to the nearest. */
    @Test
    void selectionsReadTheirPagesAndAllMeans() {
        DecodeCase problem = new DecodeCase(Cache.BF16, 10, 1000, 8, 1);
        assertEquals(16, problem.pages());
        assertEquals(2, problem.budget());
        assertEquals(2L * 8 * (64 + 40) * 256 + 8L * 16 * 256, GatunDecodeSelection.bytes(problem));
        assertEquals(DecodeCase.all(Cache.BF16, 1000, 8, 1), problem.asFull());
    }
}
