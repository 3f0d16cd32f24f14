package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_describe;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_packed_bytes;
import static io.gatun.bindings.c.gatun_h.gatun_qmatmul_unpack;

import io.gatun.DType;
import io.gatun.bindings.c.gatun_qmatmul_weights;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import io.gatun.ops.QuantSpec.Blocks;
import io.gatun.ops.QuantSpec.NibbleOrder;
import io.gatun.ops.QuantSpec.ScaleRule;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The description of packed weights as the C functions take it, in this thread's struct. */
final class PackedHeader {
    private static final int GIVEN_BOOK = 1;
    private static final ThreadLocal<MemorySegment> HEADER = Native.params(gatun_qmatmul_weights::layout);
    private static final ThreadLocal<MemorySegment> BYTES =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(ValueLayout.JAVA_LONG));

    private PackedHeader() {}

    static MemorySegment write(QuantizedTensor weights) {
        QuantSpec spec = weights.spec();
        MemorySegment header = HEADER.get();
        boolean gguf = spec.gguf() != null;
        long groupRows = spec.rowsOf(weights.rows());
        Check.range("blocks.rows", groupRows, 1, Integer.MAX_VALUE);
        gatun_qmatmul_weights.code_dtype(header, gguf ? 0 : spec.codes().code());
        gatun_qmatmul_weights.book(header, spec.book() == null ? 0 : spec.book().number());
        gatun_qmatmul_weights.zero_point(header, spec.zeroPoint().ordinal());
        gatun_qmatmul_weights.scale_dtype(header, gguf ? 0 : spec.scales().code());
        gatun_qmatmul_weights.gguf_type(header, gguf ? spec.gguf().id() : 0);
        gatun_qmatmul_weights.group_rows(header, (int) groupRows);
        gatun_qmatmul_weights.tensor_scale(
                header,
                weights.tensorScale() == null ? 1 : weights.tensorScale().getFloat(0));
        gatun_qmatmul_weights.columns(header, weights.rows());
        gatun_qmatmul_weights.depth(header, weights.depth());
        gatun_qmatmul_weights.group(header, spec.groupOf(weights.depth()));
        return header;
    }

    /** The header of a packed buffer. */
    static MemorySegment read(MemorySegment packed) {
        MemorySegment header = HEADER.get();
        Native.call(() -> gatun_qmatmul_describe(packed, packed.byteSize(), header));
        return header;
    }

    static long packedBytes(QuantizedTensor weights) {
        return packedBytes(write(weights));
    }

    static long packedBytes(MemorySegment header) {
        MemorySegment bytes = BYTES.get();
        Native.check(gatun_qmatmul_packed_bytes(header, bytes));
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    static boolean hasGivenBook(MemorySegment header) {
        return gatun_qmatmul_weights.book(header) == GIVEN_BOOK;
    }

    /** The values of a code book of one's own, which are read with the codes. */
    static float[] bookOf(MemorySegment header, MemorySegment packed) {
        int bits = dtype(gatun_qmatmul_weights.code_dtype(header)).bits();
        float[] placeholder = new float[1 << bits];
        QuantSpec spec = spec(header, CodeBook.of(placeholder));
        try (Arena arena = Arena.ofConfined()) {
            QuantizedTensor out = QuantizedTensor.allocate(
                    arena, spec, gatun_qmatmul_weights.columns(header), gatun_qmatmul_weights.depth(header));
            MemorySegment values = arena.allocate(ValueLayout.JAVA_FLOAT, placeholder.length);
            Native.call(() -> gatun_qmatmul_unpack(
                    header,
                    packed,
                    packed.byteSize(),
                    out.codes().segment(),
                    values,
                    out.scales().segment(),
                    MemorySegment.NULL));
            return values.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** {@code given}: the code book of one's own, or null. */
    static QuantSpec spec(MemorySegment header, CodeBook given) {
        int gguf = gatun_qmatmul_weights.gguf_type(header);
        if (gguf != 0) {
            return QuantSpec.gguf(GgufType.of(gguf));
        }
        QuantSpec spec = new QuantSpec(
                dtype(gatun_qmatmul_weights.code_dtype(header)),
                given != null ? given : CodeBook.ofNumber(gatun_qmatmul_weights.book(header)),
                ZeroPoint.values()[gatun_qmatmul_weights.zero_point(header)],
                new Blocks(gatun_qmatmul_weights.group(header), gatun_qmatmul_weights.group_rows(header), false),
                dtype(gatun_qmatmul_weights.scale_dtype(header)),
                ScaleRule.DEFAULT,
                false,
                NibbleOrder.LOW_FIRST,
                null);
        float tensorScale = gatun_qmatmul_weights.tensor_scale(header);
        if (tensorScale != 1 && !spec.hasTensorScale()) {
            throw Check.invalid("packed", "a scale of the tensor, " + tensorScale + ", with " + spec, "1");
        }
        return normal(spec, gatun_qmatmul_weights.columns(header), gatun_qmatmul_weights.depth(header));
    }

    /** The one spec of all that describe weights of a shape alike. */
    static QuantSpec normal(QuantSpec spec, long rows, long depth) {
        if (spec.gguf() != null) {
            return spec;
        }
        long group = spec.groupOf(depth) == depth ? 0 : spec.group();
        long own = spec.rowsOf(rows);
        return spec.withScaleRule(ScaleRule.DEFAULT).with(new Blocks(group, own > 1 && own == rows ? 0 : own, false));
    }

    static DType dtype(int code) {
        for (DType dtype : DType.values()) {
            if (dtype.code() == code) {
                return dtype;
            }
        }
        throw new IllegalStateException("packed: dtype " + code + " is unknown to this version");
    }

    /** Whether codes stand for integers, so that products are sums of integers. */
    static boolean isIntegers(QuantSpec spec) {
        if (spec.book() == null) {
            return !QuantSpec.isSmallFloat(spec.codes()) || spec.codes() == DType.F4E2M1;
        }
        if (spec.codes() != DType.U4) {
            return false;
        }
        for (float value : spec.book().values()) {
            if (value != Math.rint(value) || Math.abs(value) > 127) {
                return false;
            }
        }
        return true;
    }
}
