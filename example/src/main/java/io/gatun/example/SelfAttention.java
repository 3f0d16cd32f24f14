package io.gatun.example;

import static io.gatun.example.MiniLmWeights.HEADS;
import static io.gatun.example.MiniLmWeights.HEAD_SIZE;
import static io.gatun.example.MiniLmWeights.HIDDEN;

import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.Attention;
import io.gatun.ops.Attention.Layout;
import io.gatun.ops.Attention.Options;
import io.gatun.ops.Sequences;

/**
 * softmax(q k^T / sqrt(head size)) v for every sentence and head. A token sees its own sentence only: the kernel takes
 * the sentences one after another, as they are.
 */
record SelfAttention(Options options) {
    /** Within sentences; sentence {@code s} is the tokens {@code [starts[s], starts[s + 1])}. */
    static SelfAttention within(int... starts) {
        Sequences sentences = Sequences.of(starts, starts);
        return new SelfAttention(Options.DEFAULT.withLayout(Layout.NHD).withSequences(sentences));
    }

    /** queryKeyValue [tokens, 3 * HIDDEN] to context [tokens, HIDDEN]. */
    void run(Tensor queryKeyValue, Tensor context) {
        Attention.run(
                heads(queryKeyValue, 0), heads(queryKeyValue, 1), heads(queryKeyValue, 2), heads(context, 0), options);
    }

    /** Which kernel runs. */
    String explain(Tensor queryKeyValue, Tensor context) {
        return Attention.explain(
                heads(queryKeyValue, 0), heads(queryKeyValue, 1), heads(queryKeyValue, 2), heads(context, 0), options);
    }

    /** HIDDEN columns as [tokens, heads, head size]; they stay where they are. */
    private static Tensor heads(Tensor rows, long part) {
        Tensor columns = rows.slice(1, part * HIDDEN, (part + 1) * HIDDEN);
        Shape shape = Shape.of(columns.shape().size(0), HEADS, HEAD_SIZE);
        return Tensor.wrap(columns.segment(), columns.dtype(), shape, columns.stride(0), HEAD_SIZE, 1);
    }
}
