package io.gatun.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;

/** The op optimizer: steps beside a loop that moves the same bytes in place. */
final class OptimizerBench implements Op {
    static final String OP = "optimizer";

    private final Function<Consumer<String>, List<OptimizerPeer>> allPeers;

    OptimizerBench(Function<Consumer<String>, List<OptimizerPeer>> peers) {
        allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        session.progress().show("loading peers");
        List<OptimizerPeer> peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
        List<OptimizerCase> problems = OptimizerCase.all(
                session.arguments().quick(), session.arguments().threadCounts());
        session.begin(
                OP + substitutes(problems, peers),
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        List<Result> rates = new ArrayList<>();
        Map<Integer, List<Double>> reads = new LinkedHashMap<>();
        for (OptimizerCase problem : problems) {
            compare(session, problem, peers);
            rates.add(session.ours(problem.name()).rateOf(problem.bytesRead() + problem.bytesWritten(), "moved"));
            double read = session.limits().perSecondNow(Limits.Kind.READ, null, problem.threads());
            reads.computeIfAbsent(problem.threads(), threads -> new ArrayList<>())
                    .add(read);
        }
        session.store("bytes that a step must move, a second", rates);
        session.store("memory mode: bytes read from DRAM a second, right after each case", modes(reads));
    }

    /** Says which rules of peers stand for others: {@code " (libtorch has momentum for lion)"}. */
    static String substitutes(List<OptimizerCase> problems, List<OptimizerPeer> peers) {
        Set<String> all = new LinkedHashSet<>();
        for (OptimizerPeer peer : peers) {
            for (OptimizerCase problem : problems) {
                peer.nearest(problem)
                        .map(own -> own.kind().rule())
                        .filter(rule -> rule != problem.kind().rule())
                        .ifPresent(rule ->
                                all.add(peer.name() + " has " + rule.name().toLowerCase(Locale.ROOT) + " for "
                                        + problem.kind().rule().name().toLowerCase(Locale.ROOT)));
            }
        }
        return all.isEmpty() ? "" : " (" + String.join(", ", all) + ")";
    }

    /** One case. */
    static void compare(Session session, OptimizerCase problem, List<OptimizerPeer> peers) throws Exception {
        session.progress().show(problem.name() + ": preparing");
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            OptimizerVerifier verifier = new OptimizerVerifier(problem);
            contenders.add(OptimizerContender.of(problem));
            for (OptimizerPeer peer : peers) {
                peer.nearest(problem)
                        .ifPresent(own -> session.add(contenders, problem.name(), peer.name(), () -> {
                            Contender contender = peer.prepare(own);
                            verifier.put(contender, own);
                            return contender;
                        }));
            }
            Session.Problem work = new Session.Problem(
                    problem.name(),
                    problem.threads(),
                    Math.round(problem.bytesRead() + problem.bytesWritten()),
                    0,
                    () -> problem.limitSeconds(session.limits()));
            session.compare(OP, work, contenders, verifier);
        }
    }

    /** A record for each number of threads. */
    private static List<Result> modes(Map<Integer, List<Double>> reads) {
        List<Result> modes = new ArrayList<>();
        reads.forEach((threads, rates) -> {
            Summary giga =
                    Summary.of(rates.stream().mapToDouble(rate -> rate * 1e-9).toArray());
            String name = "memory mode t=" + threads;
            modes.add(Result.ofMachine(OP, name, threads, "bandwidth", "GB/s", giga, MeasuredLimits.TIER_IN_USE));
        });
        return modes;
    }
}
