package io.gatun.bench;

import io.gatun.Gatun;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * The op attention: dense attention beside that of others, in f32, as none of them has a faster bf16; attention to
 * blocks, and their selection, beside our dense attention. The work is that of the pairs of a query and a key that see
 * each other: of causal attention half of all.
 */
final class AttentionBench implements Op {
    static final String OP = "attention";

    private final Function<Consumer<String>, List<AttentionPeer>> allPeers;

    AttentionBench(Function<Consumer<String>, List<AttentionPeer>> peers) {
        allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        session.progress().show("loading peers");
        List<AttentionPeer> peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
        List<String> columns =
                new ArrayList<>(List.of(impl(Result.DENSE), impl(GatunAttention.BF16), impl(GatunSelection.FUSED)));
        peers.forEach(peer -> columns.add(peer.name() + " " + peer.version()));
        session.begin(OP, columns);
        List<Result> relations = new ArrayList<>();
        AttentionData data = null;
        try {
            for (AttentionCase problem : AttentionCases.of(session.arguments())) {
                if (data == null || data.length() != problem.length()) {
                    session.progress().show(problem.name() + ": inputs");
                    if (data != null) {
                        data.close();
                    }
                    data = new AttentionData(problem.length());
                }
                relations.addAll(compare(session, problem, data, peers));
            }
        } finally {
            if (data != null) {
                data.close();
            }
        }
        session.store("relations to our dense attention in the same rounds", relations);
        session.store(
                "threads",
                Scaling.of(session.results().stream()
                        .filter(result -> result.op().equals(OP))
                        .toList()));
    }

    private static String impl(String way) {
        return Result.OURS + " " + Gatun.version() + " " + way;
    }

    /** One case; gives how its time relates to that of dense attention, and what a selection keeps of it. */
    static List<Result> compare(Session session, AttentionCase problem, AttentionData data, List<AttentionPeer> peers)
            throws Exception {
        session.progress().show(problem.name() + ": preparing");
        byte[] map = problem.kind() == AttentionCase.Kind.SPARSE ? AttentionData.map(problem) : null;
        Session.Contenders contenders = new Session.Contenders();
        List<Result> relations = new ArrayList<>();
        try (contenders) {
            AttentionCase dense = problem.asDense();
            Session.Verifier verifier = new AttentionVerifier(problem, data, map);
            switch (problem.kind()) {
                case DENSE -> {
                    contenders.add(GatunAttention.prepare("", problem, data));
                    if (problem.dtype().equals("int8")) {
                        contenders.add(GatunAttention.prepare(GatunAttention.BF16, dense.with("bf16"), data));
                    }
                }
                case SPARSE -> {
                    contenders.add(GatunAttention.prepare(problem, data, map));
                    contenders.add(GatunAttention.prepare(Result.DENSE, dense, data));
                }
                case SELECT -> {
                    contenders.add(GatunSelection.prepare(problem, data));
                    contenders.add(GatunAttention.prepare(Result.DENSE, dense, data));
                    contenders.add(GatunSelection.prepareFused(problem, data));
                    verifier = new SelectionVerifier(problem, data, verifier);
                }
            }
            // A selection does not tell its kernel; the attention to what it selects runs on the same tier.
            String kernel =
                    (problem.kind() == AttentionCase.Kind.SELECT ? contenders.last() : contenders.first()).kernel();
            if (!problem.dtype().equals("int8")) {
                for (AttentionPeer peer : peers) {
                    session.add(contenders, problem.name(), peer.name(), () -> peer.prepare(problem, data));
                }
            }
            session.compare(OP, work(session, problem, map, kernel), contenders, verifier);
            relations.addAll(relations(session.results(), problem, map));
            if (contenders.first() instanceof GatunSelection selection) {
                relations.add(recall(relations.getFirst(), problem, selection));
            }
        }
        if (map != null) {
            mask(session, problem, map);
        }
        return relations;
    }

    private static Result recall(Result relation, AttentionCase problem, GatunSelection selection) {
        double percent = 100 * selection.recall();
        return Result.of(
                OP,
                problem.name() + " recall",
                relation.impl(),
                problem.threads(),
                "recall",
                "%",
                new Summary(percent, percent, percent),
                relation.kernel(),
                "share of dense attention that the blocks keep");
    }

    /** The time that a map of blocks takes to become lists. */
    private static void mask(Session session, AttentionCase problem, byte[] map) throws Exception {
        if (session.results().stream().anyMatch(result -> result.caseName().equals(problem.maskName()))) {
            return; // as of another type
        }
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            MaskContender contender = new MaskContender(problem, map);
            contenders.add(contender);
            Session.Problem work = new Session.Problem(
                    problem.maskName(),
                    1,
                    map.length,
                    0,
                    () -> map.length / session.limits().perSecondNow(Limits.Kind.READ, null, 1));
            session.compare(OP, work, contenders, contender);
        }
    }

    private static Session.Problem work(Session session, AttentionCase problem, byte[] map, String kernel) {
        Limits limits = session.limits();
        if (problem.kind() == AttentionCase.Kind.SELECT) {
            double operations = SelectionVerifier.operations(problem);
            return new Session.Problem(
                    problem.name(),
                    problem.threads(),
                    problem.bytes() / 2,
                    operations,
                    () -> limits.secondsNow(
                            problem.bytes() / 2, operations, floats(kernel, problem), null, problem.threads()));
        }
        double operations = problem.operations(AttentionData.pairs(problem));
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                problem.bytes(),
                operations,
                () -> limitSeconds(limits, problem, operations, kernel));
    }

    /** Of int8, half of the products are of codes; the others are those of bf16. */
    static double limitSeconds(Limits limits, AttentionCase problem, double operations, String kernel) {
        double floats = limits.perSecondNow(floats(kernel, problem), null, problem.threads());
        return problem.dtype().equals("int8")
                ? operations / 2 / limits.perSecondNow(Limits.Kind.INT8_DOT, null, problem.threads())
                        + operations / 2 / floats
                : operations / floats;
    }

    /** The tiers below have no dot products of bf16. */
    private static Limits.Kind floats(String kernel, AttentionCase problem) {
        boolean pairs = problem.dtype().equals("bf16") || problem.dtype().equals("int8");
        return pairs && kernel.endsWith("_avx512vnni") ? Limits.Kind.BF16_DOT : Limits.Kind.FMA;
    }

    /**
     * Of sparse attention, its time over that of dense attention times the density: 1 is ideal. Of a selection, the
     * percent of the time of dense attention, alone and with the attention to what it selects. Of int8, how much faster
     * than bf16.
     */
    static List<Result> relations(List<Result> results, AttentionCase problem, byte[] map) {
        List<Result> ours = results.stream()
                .filter(result -> result.op().equals(OP)
                        && result.isGatun()
                        && result.metric().equals("time")
                        && result.caseName().equals(problem.name()))
                .toList();
        if (ours.size() < 2) {
            return List.of();
        }
        Result time = ours.getFirst();
        Result other = ours.get(1);
        return switch (problem.kind()) {
            case DENSE ->
                List.of(time.speedupOver(
                        other, problem.name() + " speedup", "time of " + other.impl() + " / this time"));
            case SPARSE ->
                List.of(time.over(
                        AttentionData.density(problem, map) * other.median(),
                        "x",
                        problem.name() + " over ideal",
                        "this time / (density x time of " + other.impl() + ")"));
            case SELECT ->
                Stream.of(time, ours.get(2))
                        .map(part -> part.over(
                                other.median() / 100,
                                "%",
                                problem.name() + " of dense",
                                "percent of the time of " + other.impl()))
                        .toList();
        };
    }
}
