package io.gatun.bench.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bench.AttentionCase;
import io.gatun.bench.AttentionChecks;
import io.gatun.bench.AttentionData;
import io.gatun.bench.AttentionPeer;
import io.gatun.bench.Contender;
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
class AttentionPeersTest {
    private static final List<String> MISSING = new ArrayList<>();
    private static List<AttentionPeer> peers;

    @BeforeAll
    static void load() {
        peers = Peers.attention(MISSING::add);
    }

    @Test
    void allAreThere() {
        assertEquals(List.of(), MISSING);
        assertEquals(
                List.of(
                        "libtorch 2.13.0",
                        "onnxruntime-mha 1.29.0",
                        "onnxruntime-gqa 1.29.0",
                        "onnxruntime-sparse 1.29.0"),
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        peers.forEach(peer -> assertTrue(Peers.NAMES.contains(peer.name())));
    }

    /** Every peer that has something for the case computes it, again and again. */
    @ParameterizedTest
    @CsvSource({
        "200, full, 100, libtorch onnxruntime-mha",
        "200, causal, 100, libtorch onnxruntime-gqa onnxruntime-mha",
        "256, causal, 50, onnxruntime-sparse",
        "200, causal, 75, onnxruntime-sparse",
        "200, full, 50, ",
    })
    void outputsAreRight(int length, String mask, int percent, String expected) throws Exception {
        for (int threads : List.of(1, 2)) {
            AttentionCase problem = new AttentionCase(
                    "f32",
                    percent == 100 ? AttentionCase.Kind.DENSE : AttentionCase.Kind.SPARSE,
                    null,
                    length,
                    mask.equals("causal"),
                    percent,
                    threads);
            Set<String> able = new TreeSet<>();
            try (AttentionData data = new AttentionData(length)) {
                for (AttentionPeer peer : peers) {
                    try (Contender contender = peer.prepare(problem, data)) {
                        if (contender != null) {
                            double error = AttentionChecks.relError(contender, problem, data);
                            assertTrue(error < 1e-6, contender.impl() + ": " + error);
                            contender.run();
                            assertEquals(error, AttentionChecks.relError(contender, problem, data));
                            able.add(peer.name());
                        }
                    }
                }
            }
            assertEquals(expected == null ? "" : expected, String.join(" ", able), problem.name());
        }
    }

    /** Nobody else selects blocks; and 8 GiB of probabilities are not asked of a machine. */
    @Test
    void whatDoesNotFitIsLeftOut() throws Exception {
        try (AttentionData data = new AttentionData(64)) {
            AttentionCase select = new AttentionCase("bf16", AttentionCase.Kind.SELECT, "means", 64, true, 50, 1);
            AttentionCase large = new AttentionCase("f32", AttentionCase.Kind.DENSE, null, 8192, true, 100, 1);
            for (AttentionPeer peer : peers) {
                assertNull(peer.prepare(select, data));
                if (peer.name().equals("onnxruntime-gqa")) {
                    String message = assertThrows(IllegalStateException.class, () -> peer.prepare(large, data))
                            .getMessage();
                    assertEquals(
                            "GroupQueryAttention keeps 8589934592 bytes of probabilities; at most 2147483648", message);
                }
            }
        }
    }
}
