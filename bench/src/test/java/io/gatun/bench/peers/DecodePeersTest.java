package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.Contender;
import io.gatun.bench.DecodeCase;
import io.gatun.bench.DecodeChecks;
import io.gatun.bench.DecodeData;
import io.gatun.bench.DecodePeer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Where there are libraries of all peers. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
class DecodePeersTest {
    private static final List<String> MISSING = new ArrayList<>();
    private static List<DecodePeer> peers;

    @BeforeAll
    static void load() {
        peers = Peers.decode(MISSING::add);
    }

    @Test
    void allAreThere() {
        assertEquals(List.of(), MISSING);
        assertEquals(
                List.of(
                        "libtorch 2.13.0",
                        "libtorch-bf16 2.13.0",
                        "onnxruntime-gqa 1.29.0",
                        "onnxruntime-gqa-f16 1.29.0",
                        "onnxruntime-gqa-int8 1.29.0",
                        "onnxruntime-gqa-int4 1.29.0"),
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        peers.forEach(peer -> assertTrue(Peers.NAMES.contains(peer.name())));
    }

    /** Every peer that has something for the case computes it, with every copy of the cache, again and again. */
    @ParameterizedTest
    @CsvSource({
        "bf16, 200, 32, libtorch libtorch-bf16 onnxruntime-gqa",
        "bf16, 337, 8, libtorch libtorch-bf16 onnxruntime-gqa",
        "f16, 337, 8, libtorch onnxruntime-gqa onnxruntime-gqa-f16",
        "int8, 200, 32, libtorch onnxruntime-gqa onnxruntime-gqa-int8",
        "int8, 337, 8, libtorch onnxruntime-gqa onnxruntime-gqa-int8",
        "int4, 200, 32, libtorch onnxruntime-gqa onnxruntime-gqa-int4",
        "int4 g32, 337, 8, libtorch onnxruntime-gqa onnxruntime-gqa-int4",
        "int2, 337, 8, libtorch onnxruntime-gqa",
    })
    void outputsAreRight(String cache, int keys, int heads, String expected) throws Exception {
        for (int threads : List.of(1, 2)) {
            String name = cache + " kv=" + keys + " heads=32/" + heads + " t=" + threads;
            DecodeCase problem = DecodeCase.named(name).orElseThrow();
            Set<String> able = new TreeSet<>();
            try (DecodeData data = new DecodeData(problem, 2 * problem.bytes(4 * DecodeCase.HEAD_SIZE))) {
                for (DecodePeer peer : peers) {
                    try (Contender contender = peer.prepare(problem, data)) {
                        if (contender != null) {
                            double error = DecodeChecks.relError(contender, problem, data);
                            assertTrue(error < (peer.name().contains("f16") ? 5e-3 : 1e-6), name + ": " + error);
                            assertTrue(contender.copies() > 1, peer.name());
                            float[] first = new float[DecodeCase.QUERY_HEADS * DecodeCase.HEAD_SIZE];
                            float[] last = first.clone();
                            contender.output(0, first);
                            contender.output(contender.copies() - 1, last);
                            assertArrayEquals(first, last, peer.name());
                            contender.run();
                            assertEquals(error, DecodeChecks.relError(contender, problem, data));
                            able.add(peer.name());
                        }
                    }
                }
            }
            assertEquals(expected, String.join(" ", able), name);
        }
    }
}
