package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_nm_sm80_bytes;

import io.gatun.DType;
import io.gatun.bindings.c.gatun_nm_format;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The description of N:M sparse weights as the C functions take it, in this thread's struct. */
final class NmFormat {
    private static final ThreadLocal<MemorySegment> FORMAT = Native.params(gatun_nm_format::layout);

    private NmFormat() {}

    static MemorySegment of(SparseTensor tensor, int threads) {
        long group = tensor.spec() == null ? 0 : tensor.spec().groupOf(tensor.depth());
        return of(tensor.pattern(), tensor.values().dtype(), tensor.rows(), tensor.depth(), group, threads);
    }

    static MemorySegment of(Sparsity.Nm pattern, DType values, long rows, long depth, long group, int threads) {
        MemorySegment format = FORMAT.get();
        gatun_nm_format.n(format, pattern.n());
        gatun_nm_format.m(format, pattern.m());
        gatun_nm_format.vector(format, pattern.vector());
        gatun_nm_format.value_dtype(format, values.code());
        gatun_nm_format.threads(format, threads);
        gatun_nm_format.columns(format, rows);
        gatun_nm_format.depth(format, depth);
        gatun_nm_format.group(format, group);
        return format;
    }

    /** The bytes of the metadata of sparse tensor cores. */
    static long sm80Bytes(MemorySegment format) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            Native.call(() -> gatun_nm_sm80_bytes(format, bytes));
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }
}
