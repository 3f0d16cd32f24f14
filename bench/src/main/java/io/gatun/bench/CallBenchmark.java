package io.gatun.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;

/** Times a contender that this process has prepared; so it runs without forks. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.SECONDS)
public class CallBenchmark {
    /** Whom runs time; not in an instance, as JMH keeps that of a run that failed. */
    static volatile Contender contender;

    /** One call. */
    @Benchmark
    public void call() {
        contender.run();
    }
}
