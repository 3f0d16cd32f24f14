package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Decode.Options;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Attention to the tokens of sequences: of one tier by a single call of {@link Decode}, of several by one for each
 * tier, merged from the newest tokens to the oldest. For one thread at a time: memory between the steps is used again.
 */
final class KvAttend {
    private final KvTier[] tiers;
    private final CudaTable there = new CudaTable();
    private Tensor table;
    private Tensor sum;
    private Tensor sumLse;
    private Tensor part;
    private Tensor partLse;

    KvAttend(KvTier[] tiers) {
        this.tiers = tiers;
    }

    /** Each item of q to the tokens of one sequence. */
    void run(List<KvTokens> items, Tensor q, Tensor out, Options options) {
        if (tiers.length == 1) {
            Decode.run(q, tiers[0].k, tiers[0].v, table(items, 0), lengths(items, 0), out, options);
            return;
        }
        long[] lengths = items.stream().mapToLong(KvTokens::length).toArray();
        DecodeCall.params(q, tiers[0].k, tiers[0].v, table(items, 0), lengths, out, options);
        if (items.isEmpty()) {
            return;
        }
        if (items.size() == 1 || alike(items, (int) q.shape().size(2), options)) {
            merged(items, q, out, options);
            return;
        }
        for (int b = 0; b < items.size(); b++) {
            Options one = options.withLse(item(options.lse(), b)).withLogits(item(options.logits(), b));
            merged(List.of(items.get(b)), item(q, b), item(out, b), one);
        }
    }

    /** Which kernels run for each tier. */
    String explain(KvTokens tokens, Tensor q, Tensor out, Options options) {
        List<KvTokens> item = List.of(tokens);
        StringBuilder text = new StringBuilder();
        for (int t = 0; t < tiers.length; t++) {
            long[] lengths = lengths(item, t);
            text.append(t == 0 ? "" : "\n")
                    .append(lengths[0])
                    .append(" tokens of ")
                    .append(tiers[t])
                    .append(": ")
                    .append(Decode.explain(q, tiers[t].k, tiers[t].v, table(item, t), lengths, out, options));
        }
        return text.toString();
    }

    private static Tensor item(Tensor tensor, int b) {
        return tensor == null ? null : tensor.slice(0, b, b + 1);
    }

    /** Whether all items can be in the same calls. */
    private boolean alike(List<KvTokens> items, int queries, Options options) {
        if (options.window().left() >= 0 || options.slopes() != null || options.logits() != null) {
            return false;
        }
        for (KvTokens item : items) {
            for (int t = 1; t < tiers.length; t++) {
                long length = item.segment(t).length();
                if (length > 0 && sights(item, t, queries, options).size() > 1) {
                    return false;
                }
            }
        }
        return true;
    }

    private static List<KvSight> sights(KvTokens item, int tier, int queries, Options options) {
        return KvSight.of(
                item.offset(tier),
                item.segment(tier).length(),
                item.length(),
                queries,
                options.causal(),
                options.window());
    }

    private void merged(List<KvTokens> items, Tensor q, Tensor out, Options options) {
        Shape shape = out.shape();
        int queries = (int) shape.size(2);
        KvTokens item = items.get(0);
        Tensor whole = out.dtype() == DType.F32 ? out : (sum = room(sum, shape.toArray()));
        sumLse = room(sumLse, shape.size(0), shape.size(1), queries);
        part = room(part, shape.toArray());
        partLse = room(partLse, shape.size(0), shape.size(1), queries);

        Options newest = options.withLse(sumLse)
                .withLogits(keys(options.logits(), item, 0))
                .withWindow(
                        options.window().left(), Math.max(0, options.window().sinkKeys() - item.offset(0)));
        Decode.run(q, tiers[0].k, tiers[0].v, table(items, 0), lengths(items, 0), whole, newest);
        for (int t = 1; t < tiers.length; t++) {
            long[] lengths = lengths(items, t);
            if (DecodeCall.longest(lengths) == 0) {
                continue;
            }
            Tensor table = table(items, t);
            // Of items that are alike each one sees all it has.
            List<KvSight> sights = items.size() > 1
                    ? List.of(new KvSight(0, queries, 0, -1, 0, 0))
                    : sights(item, t, queries, options);
            for (KvSight sight : sights) {
                Tensor lse = partLse.slice(2, sight.begin(), sight.end());
                Tensor logits = keys(options.logits(), item, t);
                logits = logits == null ? null : logits.slice(2, sight.begin(), sight.end());
                if (items.size() == 1) {
                    lengths[0] = sight.length();
                }
                Decode.run(
                        q.slice(2, sight.begin(), sight.end()),
                        tiers[t].k,
                        tiers[t].v,
                        table,
                        lengths,
                        part.slice(2, sight.begin(), sight.end()),
                        options.withCausal(false)
                                .withWindow(sight.windowLeft(), sight.sinkKeys())
                                .withSinks(null)
                                .withLse(lse)
                                .withLogits(logits));
                hide(logits, sight.length());
                shift(lse, options.slopes(), sight.shift());
                shift(logits, options.slopes(), sight.shift());
            }
            Attention.merge(whole, sumLse, part, partLse, whole, sumLse, options.threads());
        }
        copy(whole, out);
        copy(sumLse, options.lse());
    }

    // ---- arguments of Decode ---------------------------------------------------------------------------------------

    /** The pages of a tier. It is wider than needed so that it rarely has to be another one. */
    private Tensor table(List<KvTokens> items, int tier) {
        Device device = tiers[tier].k.device();
        if (device != Device.CPU) {
            return there.of(
                    device, items.stream().map(item -> item.segment(tier)).toList());
        }
        int most = 0;
        for (KvTokens item : items) {
            most = Math.max(most, item.segment(tier).count());
        }
        if (table == null
                || table.shape().size(0) != items.size()
                || table.shape().size(2) < most) {
            table = Tensor.allocate(DType.I32, items.size(), 1, Math.max(2L * most, 16));
        }
        for (int b = 0; b < items.size(); b++) {
            items.get(b)
                    .segment(tier)
                    .copyPages(table.segment(), b * table.shape().size(2));
        }
        return table;
    }

    private static long[] lengths(List<KvTokens> items, int tier) {
        long[] lengths = new long[items.size()];
        for (int b = 0; b < lengths.length; b++) {
            lengths[b] = items.get(b).segment(tier).length();
        }
        return lengths;
    }

    /** The logits of the keys of a tier. */
    private static Tensor keys(Tensor logits, KvTokens item, int tier) {
        if (logits == null) {
            return null;
        }
        long offset = item.offset(tier);
        return logits.slice(3, offset, offset + item.segment(tier).length());
    }

    private static Tensor room(Tensor had, long... shape) {
        return had != null && had.shape().equals(Shape.of(shape)) ? had : Tensor.allocate(DType.F32, shape);
    }

    // ---- results ---------------------------------------------------------------------------------------------------

    /** Keys beyond those that a call was about are not seen. */
    private static void hide(Tensor logits, long seen) {
        if (logits != null) {
            Tensor hidden = logits.slice(3, seen, logits.shape().size(3));
            eachRow(hidden, (segment, at, head) -> {
                for (long j = 0; j < hidden.shape().size(3); j++) {
                    segment.setAtIndex(JAVA_FLOAT, at + j, Float.NEGATIVE_INFINITY);
                }
            });
        }
    }

    /** As keys are further away than a call took them to be: what ALiBi adds to each logit, and so to their sum. */
    private static void shift(Tensor sums, Tensor slopes, long shift) {
        if (sums == null || slopes == null || shift == 0) {
            return;
        }
        long row = sums.shape().size(sums.shape().rank() - 1);
        eachRow(sums, (segment, at, head) -> {
            float added = slopes.segment().getAtIndex(JAVA_FLOAT, head) * shift;
            for (long j = 0; j < row; j++) {
                segment.setAtIndex(JAVA_FLOAT, at + j, segment.getAtIndex(JAVA_FLOAT, at + j) + added);
            }
        });
    }

    /** f32 to anything of the same shape. */
    private static void copy(Tensor from, Tensor to) {
        if (to == null || to == from) {
            return;
        }
        int last = to.shape().rank() - 1;
        long size = to.shape().size(last);
        long[] done = {0};
        eachRow(to, (segment, at, head) -> {
            for (long j = 0; j < size; j++) {
                float value = from.segment().getAtIndex(JAVA_FLOAT, done[0]++);
                if (to.dtype() == DType.F32) {
                    segment.setAtIndex(JAVA_FLOAT, at + j, value);
                } else {
                    short rounded = (short) to.dtype().encode(value);
                    segment.setAtIndex(ValueLayout.JAVA_SHORT, at + j, rounded);
                }
            }
        });
    }

    private interface Row {
        /** A row begins at an element and is of a head. */
        void at(MemorySegment segment, long element, long head);
    }

    /** The rows of [batch, heads, ..., size], whose elements are adjacent, in order. */
    private static void eachRow(Tensor tensor, Row row) {
        boolean four = tensor.shape().rank() == 4;
        long length = four ? tensor.shape().size(2) : 1;
        for (long b = 0; b < tensor.shape().size(0); b++) {
            for (long h = 0; h < tensor.shape().size(1); h++) {
                for (long i = 0; i < length; i++) {
                    long at = b * tensor.stride(0) + h * tensor.stride(1) + (four ? i * tensor.stride(2) : 0);
                    row.at(tensor.segment(), at, h);
                }
            }
        }
    }
}
