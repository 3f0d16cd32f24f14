package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The whole way of a case: inputs, checks, rounds, rating, table, records. */
class SessionTest {
    private static final Limits LIMITS = (kind, tier, threads) -> 1e12;
    private static final QMatmulCase PROBLEM = new QMatmulCase("int4", 32, "i8row", 37, 70, 17, 1, null, false, false);

    @TempDir
    private Path folder;

    private final ByteArrayOutputStream said = new ByteArrayOutputStream();
    private final ByteArrayOutputStream shown = new ByteArrayOutputStream();

    private Session session(Map<String, String> externals) {
        Arguments arguments = new Arguments("qmatmul", true, 1, null, externals);
        Table table = new Table(new PrintStream(shown, true));
        Progress progress = new Progress(new PrintStream(said, true), false);
        return new Session(arguments, LIMITS, new Rounds(5, 1, 1), folder, table, progress);
    }

    /** Runs the case with these peers and gives its records as they are in the file. */
    private List<Result> compare(Session session, Peer... peers) throws Exception {
        session.begin("qmatmul", List.of(peers).stream().map(Peer::name).toList());
        QMatmulBench bench = new QMatmulBench(null, missing -> List.of(peers));
        bench.load(session);
        bench.compare(session, PROBLEM);
        List<Result> stored = Records.read(folder, "qmatmul");
        assertEquals(session.results(), stored);
        return stored;
    }

    private interface Preparation {
        Contender prepare(QMatmulData data) throws Exception;
    }

    private static Peer peer(String name, Preparation preparation) {
        return new Peer() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public String version() {
                return "1";
            }

            @Override
            public Contender prepare(QMatmulCase problem, QMatmulData data) throws Exception {
                return preparation.prepare(data);
            }
        };
    }

    private static void exact(QMatmulData data, float[] y) {
        for (int i = 0; i < y.length; i++) {
            y[i] = (float) data.expected(i / PROBLEM.columns(), i % PROBLEM.columns());
        }
    }

    private static Peer slow(Consumer<float[]> mistake) {
        return peer(
                "slow",
                data -> new FakeContender("slow 1", SessionTest::pause, y -> {
                    exact(data, y);
                    mistake.accept(y);
                }));
    }

    private static void pause() {
        try {
            Thread.sleep(1);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void storesEverybody() throws Exception {
        List<Result> stored = compare(session(Map.of()), slow(y -> {}));
        assertEquals(2, stored.size());
        Result ours = stored.getFirst();
        assertEquals("int4 g32 i8row 37x70 m=17 t=1", ours.caseName());
        assertTrue(ours.isGatun());
        assertTrue(ours.kernel().startsWith("qmatmul_"), ours.kernel());
        assertTrue(0 < ours.relError() && ours.relError() < 0.05, ours.toString());
        assertTrue(ours.percentOfLimit() > 0);
        assertEquals(stored.get(1).median() / ours.median(), ours.ratioToBestPeer(), 1e-9);
        assertEquals("slow 1", stored.get(1).impl());
        assertTrue(stored.get(1).relError() < 1e-6);
        assertNull(stored.get(1).ratioToBestPeer());
        assertTrue(shown.toString().contains("int4 g32 i8row 37x70 m=17 t=1"), shown.toString());
        assertEquals("", said.toString());
    }

    @Test
    void leavesOutWhatIsWrong() throws Exception {
        List<Result> stored = compare(session(Map.of()), slow(y -> y[y.length - 1] = Float.NaN));
        assertEquals(1, stored.size());
        assertNull(stored.getFirst().ratioToBestPeer());
        assertTrue(
                said.toString().contains("LEFT OUT of int4 g32 i8row 37x70 m=17 t=1: slow 1 is wrong"),
                said.toString());
    }

    @Test
    void leavesOutWhatFails() throws Exception {
        FakeContender failing = new FakeContender("failing 1", () -> {
            throw new IllegalStateException("no luck");
        });
        List<Result> stored = compare(
                session(Map.of()),
                peer("unprepared", data -> {
                    throw new IOException("no model");
                }),
                peer("unfit", data -> null),
                peer("unloaded", data -> {
                    throw new UnsatisfiedLinkError("no library");
                }),
                peer("failing", data -> new FakeContender("failing 1", failing::run, y -> exact(data, y))),
                slow(y -> {}));
        assertEquals(
                List.of("slow 1"), stored.stream().skip(1).map(Result::impl).toList());
        assertNotNull(stored.getFirst().ratioToBestPeer());
        String text = said.toString();
        assertTrue(text.contains("unprepared: java.io.IOException: no model"), text);
        assertTrue(text.contains("unloaded: java.lang.UnsatisfiedLinkError: no library"), text);
        assertTrue(text.contains("failing 1 failed while it was timed") && text.contains("no luck"), text);
    }

    @Test
    void saysEveryReasonOnce() throws Exception {
        int[] calls = {0};
        Peer failing = peer("failing", data -> {
            switch (calls[0]++) {
                case 0, 1 -> throw new IOException("no model");
                default -> throw new OutOfMemoryError("no heap");
            }
        });
        Session session = session(Map.of());
        session.begin("qmatmul", List.of());
        QMatmulBench bench = new QMatmulBench(null, missing -> List.of(failing));
        bench.load(session);
        for (int i = 0; i < 3; i++) {
            bench.compare(session, PROBLEM);
        }
        assertEquals(3, session.results().size());
        assertEquals(2, said.toString().lines().count(), said.toString());
        assertTrue(said.toString().contains("no model") && said.toString().contains("no heap"), said.toString());
    }

    @Test
    void refusesToTimeOurselvesWhenWrong() {
        Session session = session(Map.of());
        Session.Problem problem = new Session.Problem("c", 1, 1, 1, () -> 1);
        FakeContender wrong = new FakeContender("gatun 9", () -> {}, y -> y[0] = 5);
        OutputCheck check = new OutputCheck(1, 1, (m, n) -> 1);
        float[] y = new float[1];
        Session.Verifier verifier = contender -> {
            contender.output(0, y);
            return check.relError(contender.impl(), y);
        };
        Session.Contenders contenders = new Session.Contenders();
        contenders.add(wrong);
        OutputCheck.WrongOutput thrown = assertThrows(
                OutputCheck.WrongOutput.class, () -> session.compare("qmatmul", problem, contenders, verifier));
        assertEquals("gatun 9 is wrong: output [0][0] is 5.0, expected 1.0", thrown.getMessage());
    }

    @Test
    void closesEverybody() throws Exception {
        FakeContender[] made = new FakeContender[1];
        compare(
                session(Map.of()),
                peer("p", data -> made[0] = new FakeContender("p 1", SessionTest::pause, y -> exact(data, y))));
        assertTrue(made[0].isClosed());
    }

    @Test
    void externalProgramsTakePart() throws Exception {
        Path script = folder.resolve("peer.sh");
        Files.writeString(script, """
                echo "warming up"
                echo "{\\"median\\": 3, \\"min\\": 2, \\"unit\\": \\"s\\", \\"rel_error\\": 0, \\"kernel\\": \\"$1|$2|$3\\"}"
                """);
        Result peer = compare(session(Map.of("mine", "sh " + script))).get(1);
        assertEquals("mine", peer.impl());
        assertEquals("qmatmul|int4 g32 i8row 37x70 m=17 t=1|1", peer.kernel());
        assertEquals(List.of(3.0, 2.0, 3.0), List.of(peer.median(), peer.min(), peer.max()));
        Result ours = Records.read(folder, "qmatmul").getFirst();
        assertEquals(3 / ours.seconds(), ours.ratioToBestPeer(), 1e-6 * ours.ratioToBestPeer());
    }

    @Test
    void externalProgramsThatFailAreAskedOnce() throws Exception {
        Path log = folder.resolve("log");
        Session session = session(Map.of("bad", "echo run >> " + log + "; exit 3;"));
        compare(session);
        compare(session);
        assertEquals("run\n", Files.readString(log));
        assertTrue(said.toString().contains("LEFT OUT from now on: --peer bad: exit code 3"), said.toString());
    }

    @Test
    void externalProgramsMayHaveNothing() throws Exception {
        assertEquals(1, compare(session(Map.of("none", "true"))).size());
        assertEquals("", said.toString());
    }

    @Test
    void externalTimesNeedAUnit() throws Exception {
        assertEquals(
                1, compare(session(Map.of("odd", "echo '{\"median\": 1}' #"))).size());
        assertTrue(said.toString().contains("is no unit of time: s, ms, us, ns"), said.toString());
    }
}
