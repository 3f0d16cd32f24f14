package io.gatun.bench;

import io.gatun.Gatun;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * The op decode: attention of one query to a cache of keys and values, beside that of others to the same numbers in
 * f32, and in the type of the case where they have it. The limit is that of reading the cache from memory.
 */
final class DecodeBench implements Op {
    static final String OP = "decode";

    private final Function<Consumer<String>, List<DecodePeer>> allPeers;

    DecodeBench(Function<Consumer<String>, List<DecodePeer>> peers) {
        allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        session.progress().show("loading peers");
        List<DecodePeer> peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
        List<String> columns = new ArrayList<>(List.of(impl(DecodeCase.Cache.BF16.toString()), impl(FULL)));
        peers.forEach(peer -> columns.add(peer.name() + " " + peer.version()));
        session.begin(OP, columns);
        List<Result> relations = new ArrayList<>();
        DecodeData data = null;
        try {
            for (DecodeCase problem : DecodeCases.of(session.arguments())) {
                if (data == null || !data.isFor(problem)) {
                    session.progress().show(problem.name() + ": inputs");
                    if (data != null) {
                        data.close();
                    }
                    data = new DecodeData(problem, DecodeData.ROTATING_BYTES);
                }
                relations.addAll(compare(session, problem, data, peers));
            }
        } finally {
            if (data != null) {
                data.close();
            }
        }
        session.store("relations to our attention to bf16, or to all pages, in the same rounds", relations);
        session.store(
                "threads",
                Scaling.of(session.results().stream()
                        .filter(result -> result.op().equals(OP))
                        .toList()));
    }

    /** What ours is called that attends to all pages where another of ours chooses. */
    private static final String FULL = "full";

    private static String impl(String way) {
        return Result.OURS + " " + Gatun.version() + " " + way;
    }

    /** One case; gives how its time relates to another one of ours. */
    static List<Result> compare(Session session, DecodeCase problem, DecodeData data, List<DecodePeer> peers)
            throws Exception {
        session.progress().show(problem.name() + ": preparing");
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            if (problem.isSelected()) {
                contenders.add(new GatunDecodeSelection(problem, data));
                contenders.add(GatunCaches.prepare(FULL, problem.asFull(), data));
            } else {
                contenders.add(GatunCaches.prepare("", problem, data));
                if (problem.cache().group != 0) {
                    DecodeCase bf16 = problem.in(DecodeCase.Cache.BF16);
                    contenders.add(GatunCaches.prepare(bf16.cache().toString(), bf16, data));
                }
                for (DecodePeer peer : peers) {
                    session.add(contenders, problem.name(), peer.name(), () -> peer.prepare(problem, data));
                }
            }
            session.compare(OP, work(session.limits(), problem), contenders, new DecodeVerifier(problem, data));
        }
        return relations(session.results(), problem);
    }

    private static Session.Problem work(Limits limits, DecodeCase problem) {
        long bytes = problem.isSelected() ? GatunDecodeSelection.bytes(problem) : problem.bytes();
        return new Session.Problem(
                problem.name(),
                problem.threads(),
                bytes,
                problem.operations() * problem.percent() / 100,
                () -> bytes / limits.perSecondNow(Limits.Kind.READ, null, problem.threads()));
    }

    /** Of codes, how much faster than bf16; of a selection, the percent of the time of all pages. */
    static List<Result> relations(List<Result> results, DecodeCase problem) {
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
        return List.of(
                problem.isSelected()
                        ? time.over(
                                other.median() / 100,
                                "%",
                                problem.name() + " of full",
                                "percent of the time of " + other.impl())
                        : time.speedupOver(
                                other, problem.name() + " speedup", "time of " + other.impl() + " / this time"));
    }
}
