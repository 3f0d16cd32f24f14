package io.gatun.bench;

import io.gatun.Tier;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;

/** The op qmatmul: Gatun beside its peers on layers of models, and what else users of it ask about. */
final class QMatmulBench implements Op {
    static final String OP = "qmatmul";

    private final Path shapes;
    private final Function<Consumer<String>, List<Peer>> allPeers;
    private final Set<String> failed = new HashSet<>();
    private final List<Result> shares = new ArrayList<>();
    private List<Peer> peers = List.of();
    private QMatmulData data;

    QMatmulBench(Path shapes, Function<Consumer<String>, List<Peer>> peers) {
        this.shapes = shapes;
        this.allPeers = peers;
    }

    @Override
    public String name() {
        return OP;
    }

    @Override
    public void run(Session session) throws Exception {
        load(session);
        session.begin(
                OP,
                peers.stream().map(peer -> peer.name() + " " + peer.version()).toList());
        Arguments arguments = session.arguments();
        for (QMatmulCase problem :
                QMatmulCases.of(QMatmulShape.chosen(QMatmulShape.read(shapes), arguments), arguments)) {
            if (problem.tier() == null) {
                compare(session, problem);
            } else if (Tier.valueOf(problem.tier().toUpperCase(Locale.ROOT)).isSupported()) {
                forceTier(session, problem);
            } else {
                session.progress().say(problem.name() + ": this processor has no " + problem.tier());
            }
        }
        data = null;
        session.store("rate of a tier over its limit of f32 multiply-adds", shares);
        session.store("threads", Scaling.of(session.results()));
        if (!arguments.quick()) { // shapes of their own
            session.progress().show("several weights in one call");
            SideBySide.measure(session);
            Experts.measure(session);
        }
        session.progress().show("callers");
        session.store("Java threads that call at once", Callers.measure(session.rounds()));
        session.progress().show("CallOverhead");
        session.store("a call of 1x1x1", CallOverhead.measure(arguments.quick() ? 1 : 3));
        session.progress().show("idle pool");
        session.store("idle pool", IdlePool.measure(arguments.threads(), arguments.quick() ? 1 : 3));
    }

    /** The peers that load here; of the others it is said why not. */
    void load(Session session) {
        session.progress().show("loading peers");
        peers = allPeers.apply(missing -> session.progress().say("LEFT OUT: " + missing));
    }

    /** Gatun and every peer that has something for the case. */
    void compare(Session session, QMatmulCase problem) throws Exception {
        session.progress().show(problem.name() + ": inputs");
        data = new QMatmulData(problem, data);
        Session.Contenders contenders = new Session.Contenders();
        try (contenders) {
            contenders.add(GatunQMatmul.prepare(problem, data));
            for (Peer peer : peers) {
                session.progress().show(problem.name() + ": preparing " + peer.name());
                Contender contender = prepare(session, peer, problem);
                if (contender != null) {
                    contenders.add(contender);
                }
            }
            session.compare(
                    OP,
                    QMatmulWork.of(problem, contenders.first().kernel(), session.limits()),
                    contenders,
                    QMatmulVerifier.of(problem, data));
        }
    }

    /** Null if the peer has nothing for the case, or fails, which is said once for each reason. */
    private Contender prepare(Session session, Peer peer, QMatmulCase problem) {
        try {
            return peer.prepare(problem, data);
        } catch (Exception | LinkageError | OutOfMemoryError e) {
            String failure = peer.name() + ": " + e;
            if (failed.add(failure)) {
                session.progress().say("LEFT OUT of " + problem.name() + ": " + failure);
            }
            return null;
        }
    }

    /** In a JVM of its own, as the library picks its tier once, when it is loaded. */
    private void forceTier(Session session, QMatmulCase problem) throws IOException {
        session.progress().show(problem.name() + ": in a process of its own");
        List<Result> results = ForcedTier.measure(problem, session.limits());
        session.store(List.of(results.getFirst()), QMatmulWork.of(problem, Limits.Kind.INT8_DOT, session.limits()));
        shares.add(results.getLast());
    }
}
