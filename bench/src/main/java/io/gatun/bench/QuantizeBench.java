package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;

/** The op quantize: formats beside a loop that moves the same bytes, then products by weights of formats. */
final class QuantizeBench implements Op {
    static final String OP = "quantize";

    private final Function<Consumer<String>, List<QuantizePeer>> allPeers;

    QuantizeBench(Function<Consumer<String>, List<QuantizePeer>> peers) {
        allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        session.progress().show("loading peers");
        List<QuantizePeer> peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
        session.begin(
                OP,
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        List<Result> rates = new ArrayList<>();
        try (Arena arena = Arena.ofShared()) {
            session.progress().show("values");
            Tensor x = normals(arena, QuantizeCase.ROWS, QuantizeCase.DEPTH);
            for (QuantizeCase problem : QuantizeCase.all(session.arguments().threadCounts())) {
                session.progress().show(problem.name() + ": preparing");
                Session.Contenders contenders = new Session.Contenders();
                try (contenders) {
                    contenders.add(new QuantizeContender(problem, x));
                    for (QuantizePeer peer : peers) {
                        session.add(contenders, problem.name(), peer.name(), () -> peer.prepare(problem, x));
                    }
                    session.compare(OP, work(problem, session.limits()), contenders, new QuantizeVerifier(problem, x));
                }
                rates.add(session.ours(problem.name())
                        .rateOf(problem.valueBytes(), problem.quantize() ? "f32 input" : "f32 output"));
            }
        }
        FormatProducts.measure(session);
        session.store("f32 values that become codes, or come of them, a second", rates);
    }

    private static Session.Problem work(QuantizeCase problem, Limits limits) {
        long read = problem.quantize() ? problem.valueBytes() : problem.codeBytes();
        long written = problem.quantize() ? problem.codeBytes() : problem.valueBytes();
        Limits.Proportion proportion = Limits.Proportion.of(read, written);
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                read + written,
                0,
                () -> (read + written) / limits.movedPerSecondNow(proportion, problem.threads()));
    }

    /** Standard normal values, the same in every run. */
    static Tensor normals(Arena arena, long rows, long columns) {
        Tensor values = Tensor.allocate(arena, DType.F32, rows, columns);
        IntStream.range(0, Math.toIntExact(rows)).parallel().forEach(row -> {
            SplittableRandom random = new SplittableRandom(row);
            float[] line = new float[Math.toIntExact(columns)];
            for (int i = 0; i < line.length; i++) {
                line[i] = (float) random.nextGaussian();
            }
            values.slice(0, row, row + 1L).copyFrom(line);
        });
        return values;
    }
}
