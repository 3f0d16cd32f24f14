package io.gatun.bench;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/** Puts the times of a case in relation: to the machine's limit, and ours to those of the peers. */
public final class Rating {
    /** How much larger than ours an error may be to count as no larger. */
    private static final double ERROR_MARGIN = 1.05;
    /** Below, errors are the rounding of f32 sums, which differs with the order of their terms. */
    private static final double ROUNDING = 0x1p-19;

    private Rating() {}

    /** The times of one case with percent of the limit and, for ours, the ratio to the best peer with no larger error. */
    static List<Result> rate(List<Result> times, double limitSeconds) {
        return times.stream()
                .map(time -> time.rated(
                        percent(limitSeconds, time.seconds()),
                        time.isGatun() ? ratio(time, bestPeer(time, times, true)) : null))
                .toList();
    }

    /** The times of several ways of ours, and a record of how much faster the first one is than the second. */
    static List<Result> rateWays(Session.Measured measured) {
        List<Result> rated = new ArrayList<>(rate(measured.times(), measured.limitSeconds()));
        Result first = rated.getFirst();
        Result second = rated.get(1);
        rated.add(
                first.speedupOver(second, first.caseName() + " speedup", "time of " + second.impl() + " / this time"));
        return rated;
    }

    static double percent(double limitSeconds, double seconds) {
        return 100 * limitSeconds / seconds;
    }

    /** The time of a peer over ours; null without a peer. */
    public static Double ratio(Result ours, Optional<Result> peer) {
        return peer.map(theirs -> theirs.seconds() / ours.seconds()).orElse(null);
    }

    /** The fastest of the others; if asked, of those whose error is known and no larger than ours. */
    public static Optional<Result> bestPeer(Result ours, List<Result> times, boolean noLargerError) {
        return times.stream()
                .filter(time -> !time.isGatun())
                .filter(time -> !noLargerError || isAsExact(time, ours))
                .min(Comparator.comparingDouble(Result::seconds));
    }

    /** Whether a peer's error is known and no larger than ours. */
    public static boolean isAsExact(Result peer, Result ours) {
        return peer.relError() != null
                && ours.relError() != null
                && peer.relError() <= Math.max(ROUNDING, ERROR_MARGIN * ours.relError());
    }
}
