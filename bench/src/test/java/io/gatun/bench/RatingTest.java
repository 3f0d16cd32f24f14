package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class RatingTest {
    static Result time(String impl, String unit, double median, Double relError) {
        return new Result(
                "op", "case", impl, 1, "time", unit, median, median, median, null, null, relError, "kernel", "all");
    }

    @Test
    void comparesWithTheFastestPeerOfNoLargerError() {
        Result ours = time("gatun 1", "ms", 2, 0.01);
        Result fastButWorse = time("a", "ms", 1, 0.0106);
        Result alike = time("b", "us", 3000, 0.0105);
        Result slow = time("c", "ms", 9, 0.001);
        List<Result> rated = Rating.rate(List.of(ours, fastButWorse, alike, slow), 0.001);
        assertEquals(1.5, rated.getFirst().ratioToBestPeer(), 1e-12);
        assertEquals(50, rated.getFirst().percentOfLimit(), 1e-12);
        assertEquals(100, rated.get(1).percentOfLimit(), 1e-12);
        assertNull(rated.get(1).ratioToBestPeer());
        assertEquals(0.5, Rating.ratio(ours, Rating.bestPeer(ours, rated, false)), 1e-12);
    }

    @Test
    void peersOfUnknownErrorDoNotCount() {
        Result ours = time("gatun 1", "ms", 2, 0.01);
        List<Result> rated = Rating.rate(List.of(ours, time("a", "ms", 3, null)), 0.001);
        assertNull(rated.getFirst().ratioToBestPeer());
        assertFalse(Rating.isAsExact(rated.get(1), ours));
    }

    @Test
    void errorsOfRoundingAreAlike() {
        Result ours = time("gatun 1", "ms", 2, 2e-7);
        assertTrue(Rating.isAsExact(time("a", "ms", 3, 1e-6), ours));
        assertFalse(Rating.isAsExact(time("a", "ms", 3, 3e-6), ours));
    }

    @Test
    void withoutPeersThereIsNoRatio() {
        assertNull(Rating.rate(List.of(time("gatun 1", "ms", 2, 0.01)), 1)
                .getFirst()
                .ratioToBestPeer());
    }

    @Test
    void knowsUnitsOfTime() {
        assertEquals(2, time("a", "s", 2, null).seconds());
        assertEquals(2e-9, time("a", "ns", 2, null).seconds(), 1e-24);
        String message = assertThrows(
                        IllegalStateException.class,
                        () -> time("a", "GB/s", 2, null).seconds())
                .getMessage();
        assertEquals("a: GB/s is no unit of time: s, ms, us, ns", message);
    }

    @Test
    void theLimitIsWhatTakesLonger() {
        Limits limits = (kind, tier, threads) -> kind == Limits.Kind.READ ? 10 : 100.0 * threads;
        assertEquals(7, limits.secondsNow(70, 100, Limits.Kind.FMA, null, 1), 1e-12);
        assertEquals(9, limits.secondsNow(70, 1800, Limits.Kind.FMA, null, 2), 1e-12);
    }

    @Test
    void summarizes() {
        assertEquals(new Summary(3, 1, 9), Summary.of(9, 3, 1));
        assertEquals(new Summary(2.5, 1, 9), Summary.of(9, 3, 2, 1));
        assertEquals(new Summary(5, 2, 18), Summary.of(9, 3, 2, 1).times(2));
        assertThrows(IllegalArgumentException.class, Summary::of);
    }

    @Test
    void scalesFromOneThread() {
        Result one = new Result("op", "a m=1 t=1", "gatun", 1, "time", "ms", 6, 5, 8, null, null, null, "k", "all");
        Result two = new Result("op", "a m=1 t=2", "gatun", 2, "time", "ms", 3, 2, 4, null, null, null, "k", "all");
        Result other = new Result("op", "a m=8 t=2", "gatun", 2, "time", "ms", 3, 2, 4, null, null, null, "k", "all");
        Result peer = new Result("op", "a m=1 t=2", "peer", 2, "time", "ms", 3, 2, 4, null, null, null, "k", "all");
        List<Result> speedups = Scaling.of(List.of(one, two, other, peer));
        assertEquals(1, speedups.size());
        assertEquals("a m=1 t=2 scaling", speedups.getFirst().caseName());
        assertEquals(2, speedups.getFirst().median());
        assertEquals(1.25, speedups.getFirst().min());
        assertEquals(4, speedups.getFirst().max());
    }
}
