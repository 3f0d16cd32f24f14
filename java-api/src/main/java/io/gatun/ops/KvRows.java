package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/** Checks of what {@link KvCache} is given. */
final class KvRows {
    /**
     * Up to that all numbers have codes: scales and zero points, f16, end at 65504, and each format on the way rounds
     * numbers up a little.
     */
    private static final float LARGEST = 32768;

    private static final int LARGEST_F16 = DType.floatToF16(LARGEST);
    private static final int LARGEST_BF16 = DType.floatToBf16(LARGEST);

    private KvRows() {}

    /** Refuses anything but rows [heads, tokens, size] of keys or values that each tier can take. */
    static void check(String name, Tensor x, KvTier[] tiers, boolean keys) {
        Check.present(name, x);
        Check.dtype(name, x, AttentionCall.FLOATS);
        KvPool pool = keys ? tiers[0].k : tiers[0].v;
        if (x.shape().rank() != 3
                || x.shape().size(0) != pool.heads()
                || x.shape().size(2) != pool.size()) {
            throw Check.invalid(
                    name,
                    "shape " + x.shape(),
                    "[heads, tokens, size] = [" + pool.heads() + ", any, " + pool.size() + "]");
        }
        if (x.stride(2) != 1) {
            throw Check.invalid(name, x.describe(), "stride 1 on the last axis (see Tensor.contiguous)");
        }
        Check.reachable(name, x);
        Check.device(name, x, "the cache", pool.device());
        // Of a single tier the kernel that makes the codes checks.
        boolean codes = false;
        for (KvTier tier : tiers) {
            codes |= (keys ? tier.k : tier.v).format().scaling() != KvFormat.Scaling.NONE;
        }
        if (tiers.length > 1 && codes) {
            checkNumbers(name, x);
        }
    }

    /** Refuses what could not become a code when its page moves on. */
    private static void checkNumbers(String name, Tensor x) {
        for (long h = 0; h < x.shape().size(0); h++) {
            for (long t = 0; t < x.shape().size(1); t++) {
                long row = h * x.stride(0) + t * x.stride(1);
                if (!isSmall(x, row)) {
                    refuse(name, x, h, t);
                }
            }
        }
    }

    private static boolean isSmall(Tensor x, long row) {
        MemorySegment segment = x.segment();
        boolean small = true;
        if (x.dtype() == DType.F32) {
            for (long c = 0; c < x.shape().size(2); c++) {
                small &= Math.abs(segment.getAtIndex(JAVA_FLOAT, row + c)) <= LARGEST;
            }
            return small;
        }
        // Without their sign, patterns are in the order of their numbers, with infinity and NaN at the end.
        int largest = x.dtype() == DType.F16 ? LARGEST_F16 : LARGEST_BF16;
        for (long c = 0; c < x.shape().size(2); c++) {
            small &= (segment.getAtIndex(JAVA_SHORT, row + c) & 0x7fff) <= largest;
        }
        return small;
    }

    private static void refuse(String name, Tensor x, long h, long t) {
        for (long c = 0; c < x.shape().size(2); c++) {
            float value = x.getFloat(h, t, c);
            if (!(Math.abs(value) <= LARGEST)) {
                throw Check.invalid(
                        name + "[" + h + ", " + t + ", " + c + "]",
                        value,
                        -LARGEST + ".." + LARGEST + ", as tokens become codes when they are older");
            }
        }
    }

    /** Refuses anything but ascending indexes, one list or one for each head, all of the same length. */
    static void check(long[][] keep, int heads, long length) {
        Check.present("keep", keep);
        if (keep.length != 1 && keep.length != heads) {
            throw Check.invalid("keep", keep.length + " lists", "1, or " + heads + ", one for each head");
        }
        for (int h = 0; h < keep.length; h++) {
            Check.present("keep[" + h + "]", keep[h]);
            if (keep[h].length != keep[0].length) {
                throw Check.invalid("keep[" + h + "]", keep[h].length + " tokens", keep[0].length + ", as keep[0] has");
            }
            long least = 0;
            for (int i = 0; i < keep[h].length; i++) {
                if (keep[h][i] < least || keep[h][i] >= length) {
                    throw Check.invalid(
                            "keep[" + h + "][" + i + "]",
                            keep[h][i],
                            least < length
                                    ? least + ".." + (length - 1) + ", in ascending order"
                                    : "no more than " + i + " of " + length + " tokens");
                }
                least = keep[h][i] + 1;
            }
        }
    }

    /** With memory for logits and log-sum-exps where there is none. */
    static Decode.Options withSums(Decode.Options options, Tensor q, long length, int pageSize) {
        long heads = q.shape().size(1);
        long queries = q.shape().size(2);
        // A GPU wants room for whole pages.
        long keys = q.device() == Device.CPU ? length : Math.ceilDiv(length, (long) pageSize) * pageSize;
        Decode.Options all = options;
        if (all.logits() == null) {
            all = all.withLogits(q.device().allocate(DType.F32, 1, heads, queries, keys));
        }
        if (all.lse() == null) {
            all = all.withLse(q.device().allocate(DType.F32, 1, heads, queries));
        }
        return all;
    }
}
