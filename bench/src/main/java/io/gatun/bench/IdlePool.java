package io.gatun.bench;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Counts the CPU time of a process whose pool has worked and now has nothing to do. */
final class IdlePool {
    private static final long WINDOW_MILLIS = 5000;
    private static final long SETTLE_MILLIS = 2000;
    private static final int CALLS = 200;
    private static final int SIZE = 1024;

    /** After the name of the process in brackets: fields 14 and 15 of proc(5), the state being field 3. */
    private static final int USER_TIME = 14 - 3;

    private IdlePool() {}

    /** Ticks (usually of 10 ms) over 5 seconds, in a JVM of its own. */
    static List<Result> measure(int threads, int windows) throws IOException {
        return Command.java(IdlePool.class, List.of(Integer.toString(threads), Integer.toString(windows)), Map.of());
    }

    /** In that JVM; arguments: the threads and how many windows of 5 seconds. */
    public static void main(String[] arguments) throws Exception {
        int threads = Integer.parseInt(arguments[0]);
        work(threads);
        Thread.sleep(SETTLE_MILLIS); // the JVM's compiler threads finish, too
        int windows = Integer.parseInt(arguments[1]);
        double[] ticks = new double[windows];
        for (int i = 0; i < windows; i++) {
            long before = ticks();
            Thread.sleep(WINDOW_MILLIS);
            ticks[i] = ticks() - before;
        }
        Summary summary = Summary.of(ticks);
        System.out.println(Records.JSON.writeValueAsString(new Result(
                QMatmulBench.OP,
                "idle pool t=" + threads,
                "gatun " + Gatun.version(),
                threads,
                "ticks/5 s",
                "ticks",
                summary.median(),
                summary.min(),
                summary.max(),
                null,
                null,
                null,
                "thread pool",
                "CPU time of the whole process after " + CALLS + " parallel calls")));
    }

    private static void work(int threads) {
        float[] ones = new float[SIZE * SIZE];
        Arrays.fill(ones, 1);
        PackedWeights weights = QMatmul.pack(Tensor.of(ones, SIZE, SIZE), QuantSpec.int8());
        Tensor x = Tensor.of(ones, SIZE, SIZE).slice(0, 0, 8);
        Tensor y = Tensor.allocate(DType.F32, 8, SIZE);
        QMatmul.Options options = QMatmul.Options.DEFAULT.withThreads(threads);
        IntStream.range(0, CALLS).forEach(i -> QMatmul.run(x, weights, y, options));
    }

    /** The user and system time of this process, all threads. */
    private static long ticks() throws IOException {
        String stat = Files.readString(Path.of("/proc/self/stat"));
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return Long.parseLong(fields[USER_TIME]) + Long.parseLong(fields[USER_TIME + 1]);
    }
}
