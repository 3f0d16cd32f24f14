package io.gatun.bench;

import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * The op nm_matmul: sparse weights beside dense implementations, which multiply by the same weights with their zeros, and
 * pruning beside a loop that moves the same bytes. Limits are those of the sparse work: multiply-adds of kept weights, bytes
 * of values, indices and scales.
 */
final class NmMatmulBench implements Op {
    static final String OP = "nm_matmul";

    private final Path shapes;
    private final Function<Consumer<String>, List<Peer>> allPeers;

    NmMatmulBench(Path shapes, Function<Consumer<String>, List<Peer>> peers) {
        this.shapes = shapes;
        this.allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        session.progress().show("loading peers");
        List<Peer> peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
        List<String> columns = new ArrayList<>();
        columns.add(GatunNmMatmul.dense());
        peers.forEach(peer -> columns.add(peer.name() + " " + peer.version()));
        session.begin(OP + " (the others are dense)", columns);
        List<QMatmulShape> layers = QMatmulShape.chosen(QMatmulShape.read(shapes), session.arguments());
        List<Result> speedups = new ArrayList<>();
        NmMatmulData data = null;
        for (NmMatmulCase problem : NmMatmulCases.of(layers, session.arguments())) {
            session.progress().show(problem.name() + ": inputs");
            data = new NmMatmulData(problem, data);
            boolean alone = session.arguments().quick() && problem.isInteger();
            compare(session, problem, data, alone ? List.of() : peers);
            speedup(session.results(), problem.name()).ifPresent(speedups::add);
        }
        data = null;
        session.store("speed of sparse weights over dense ones: ours of integers, else the fastest peer", speedups);
        QMatmulShape largest = layers.stream()
                .max(Comparator.comparingLong(shape -> shape.columns() * shape.depth()))
                .orElseThrow();
        for (int threads : session.arguments().threadCounts()) {
            prune(session, new NmPruneCase(2, 4, largest.columns(), largest.depth(), threads));
        }
        session.store("threads", Scaling.of(of(session.results())));
    }

    private static List<Result> of(List<Result> results) {
        return results.stream().filter(result -> result.op().equals(OP)).toList();
    }

    /** Gatun and every peer that has something for the case; of integers, our dense weights as well. */
    static void compare(Session session, NmMatmulCase problem, NmMatmulData data, List<Peer> peers) throws Exception {
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            session.progress().show(problem.name() + ": packing");
            contenders.add(GatunNmMatmul.prepare(problem, data));
            QMatmulCase dense = problem.dense();
            if (problem.isInteger()) {
                contenders.add(GatunQMatmul.prepare(Result.DENSE, dense, data.dense));
            }
            for (Peer peer : peers) {
                session.progress().show(problem.name() + ": preparing " + peer.name());
                session.add(contenders, problem.name(), peer.name(), () -> peer.prepare(dense, data.dense));
            }
            session.compare(
                    OP,
                    work(problem, contenders.first().kernel(), session.limits()),
                    contenders,
                    verifier(problem, data));
        }
    }

    /** Gatun alone: no peer prunes and compresses on the CPU. */
    static void prune(Session session, NmPruneCase problem) throws Exception {
        session.progress().show(problem.name() + ": inputs");
        Session.Contenders contenders = new Session.Contenders();
        try (contenders;
                Arena arena = Arena.ofShared()) {
            Tensor weights = QuantizeBench.normals(arena, problem.columns(), problem.depth());
            contenders.add(new NmPruneContender(problem, weights));
            long read = problem.bytesRead();
            long written = problem.bytesWritten();
            Limits.Proportion proportion = Limits.Proportion.of(read, written);
            Session.Problem work = new Session.Problem(
                    problem.name(),
                    problem.threads(),
                    read + written,
                    0,
                    () -> (read + written) / session.limits().movedPerSecondNow(proportion, problem.threads()));
            session.compare(OP, work, contenders, new NmPruneVerifier(problem, weights.toFloatArray()));
        }
    }

    /** What must be done at least, and how long the machine needs for that. */
    static Session.Problem work(NmMatmulCase problem, String kernel, Limits limits) {
        Limits.Kind kind = limit(problem, kernel);
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                problem.weightBytes(),
                problem.operations(),
                () -> limits.secondsNow(problem.weightBytes(), problem.operations(), kind, null, problem.threads()));
    }

    /** The tiers below have no dot products of bf16. */
    private static Limits.Kind limit(NmMatmulCase problem, String kernel) {
        return switch (problem.values()) {
            case "f32" -> Limits.Kind.FMA;
            case "bf16" -> kernel.endsWith("_avx512vnni") ? Limits.Kind.BF16_DOT : Limits.Kind.FMA;
            default -> Limits.Kind.INT8_DOT;
        };
    }

    /** Outputs are those of the dense case, whose weights have zeros. */
    static QMatmulVerifier verifier(NmMatmulCase problem, NmMatmulData data) {
        QMatmulOracle oracle = new QMatmulOracle(problem.dense(), data.dense, problem.kept());
        return new QMatmulVerifier(
                problem.rows(),
                problem.columns(),
                copy -> (m, n) -> data.dense.expected(copy, m, n),
                oracle::value,
                oracle::bound);
    }

    /** How much faster ours is than our dense weights, or else than the fastest peer, whatever its error. */
    static Optional<Result> speedup(List<Result> results, String caseName) {
        List<Result> times = of(results).stream()
                .filter(result -> result.caseName().equals(caseName))
                .toList();
        Result ours = times.stream()
                .filter(time -> time.isGatun() && !time.isDense())
                .findFirst()
                .orElseThrow();
        return times.stream()
                .filter(Result::isDense)
                .findFirst()
                .or(() -> Rating.bestPeer(ours, times, false))
                .map(dense ->
                        ours.speedupOver(dense, caseName + " speedup", "time of " + dense.impl() + " / this time"));
    }
}
