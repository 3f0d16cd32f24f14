package io.gatun.ops;

import io.gatun.Gatun;
import java.util.function.Supplier;

/** The default number of threads, set for the time of a call. */
final class Threads {
    private Threads() {}

    static <T> T with(int threads, Supplier<T> call) {
        int before = Gatun.threads();
        Gatun.setThreads(threads);
        try {
            return call.get();
        } finally {
            Gatun.setThreads(before);
        }
    }
}
