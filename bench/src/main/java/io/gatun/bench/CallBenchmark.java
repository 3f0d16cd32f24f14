package io.gatun.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** Times a contender that this process has prepared; so it runs without forks. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.SECONDS)
public class CallBenchmark {
    /** Whom the next run times. */
    static volatile Contender next;

    private Contender contender;

    /** Takes the contender, so that the loop reads no volatile field. */
    @Setup
    public void prepare() {
        contender = next;
    }

    /** One call. */
    @Benchmark
    public void call() {
        contender.run();
    }
}
