package io.gatun.example;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.files.Gguf;
import io.gatun.files.GgufTensor;
import io.gatun.files.GgufValue;
import io.gatun.ops.Decode;
import io.gatun.ops.KvCache;
import io.gatun.ops.KvFormat;
import io.gatun.ops.Norm;
import io.gatun.ops.PackedStack;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * A decoder of the Llama architecture on Gatun's kernels, of the weights of a GGUF file: RMSNorm, grouped-query
 * attention with rotary positions, a gated SiLU layer. It holds one text; not for concurrent use.
 *
 * <p>Weights that the file has as floats are quantized to 8 bits, a scale for every 32. Files that ask for more,
 * such as biases, experts or scaled positions other than by rope_freqs, are refused.
 */
final class Llama implements AutoCloseable {
    private static final int PAGE = 16;
    private static final Pattern TENSORS = Pattern.compile("(token_embd|output_norm|output|rope_freqs)\\.weight"
            + "|blk\\.\\d+\\.(attn_(norm|q|k|v|output)|ffn_(norm|gate|up|down))\\.weight");

    /** Sizes, as the file tells them. */
    record Sizes(
            int layers,
            int width,
            int inner,
            int heads,
            int kvHeads,
            int headSize,
            int rotated,
            float rotationBase,
            float epsilon,
            int vocabulary,
            int context) {
        static Sizes of(Gguf file) {
            String architecture = file.value("general.architecture").asString();
            if (!architecture.equals("llama")) {
                throw new IllegalArgumentException("general.architecture: given " + architecture + "; allowed: llama");
            }
            int width = number(file, "llama.embedding_length", -1);
            int heads = number(file, "llama.attention.head_count", -1);
            int headSize = number(file, "llama.attention.key_length", width / heads);
            int rotated = number(file, "llama.rope.dimension_count", headSize);
            if (rotated < 0 || rotated > headSize || rotated % 2 != 0) {
                throw new IllegalArgumentException(
                        "llama.rope.dimension_count: given " + rotated + "; allowed: even, 0.." + headSize);
            }
            refuseMore(file, headSize);
            GgufValue base = file.metadata().get("llama.rope.freq_base");
            return new Sizes(
                    number(file, "llama.block_count", -1),
                    width,
                    number(file, "llama.feed_forward_length", -1),
                    heads,
                    number(file, "llama.attention.head_count_kv", heads),
                    headSize,
                    rotated,
                    base == null ? 10000 : (float) base.asDouble(),
                    (float) file.value("llama.attention.layer_norm_rms_epsilon").asDouble(),
                    Math.toIntExact(file.tensor("token_embd.weight").shape().size(0)),
                    number(file, "llama.context_length", -1));
        }

        /** Refuses a file that asks for what is not here. */
        private static void refuseMore(Gguf file, int headSize) {
            expect(file, "llama.attention.value_length", GgufValue.uint32(headSize));
            expect(file, "llama.expert_count", GgufValue.uint32(0));
            expect(file, "llama.rope.scaling.type", GgufValue.string("none"));
            expect(file, "llama.rope.scaling.factor", GgufValue.float32(1));
            expect(file, "llama.rope.scaling.attn_factor", GgufValue.float32(1));
            expect(file, "llama.rope.scale_linear", GgufValue.float32(1));
            file.tensors().keySet().stream()
                    .filter(name -> !TENSORS.matcher(name).matches())
                    .findFirst()
                    .ifPresent(name -> {
                        throw new IllegalArgumentException(
                                "tensors: given " + name + "; allowed: " + TENSORS.pattern());
                    });
        }

        /** Refuses another value than the one that asks for nothing. */
        private static void expect(Gguf file, String key, GgufValue allowed) {
            GgufValue given = file.metadata().get(key);
            if (given != null && !given.equals(allowed)) {
                throw new IllegalArgumentException(key + ": given " + given + "; allowed: " + allowed);
            }
        }

        private static int number(Gguf file, String key, int otherwise) {
            GgufValue value =
                    otherwise == -1 ? file.value(key) : file.metadata().get(key);
            return value == null ? otherwise : Math.toIntExact(value.asLong());
        }
    }

    private record Layer(
            Tensor attentionNorm,
            PackedStack queryKeyValue,
            PackedWeights attentionOutput,
            Tensor innerNorm,
            PackedWeights gate,
            PackedWeights up,
            PackedWeights down,
            KvCache cache,
            KvCache.Sequence tokens) {}

    private final Sizes sizes;
    private final QMatmul.Options options;
    private final GgufTensor embeddings;
    private final List<Layer> layers;
    private final Tensor outputNorm;
    private final PackedWeights output;
    /** Of each rotated pair: its angle at position 1. */
    private final float[] angles;

    private int length;

    /**
     * Packs the weights of a file.
     *
     * @param longest text, in tokens, as many as the model was made for at most
     * @param mode what products are made in
     * @param cache how keys and values are kept
     */
    Llama(Gguf file, int longest, QMatmul.Mode mode, KvFormat cache) {
        sizes = Sizes.of(file);
        if (longest < 1 || longest > sizes.context) {
            throw new IllegalArgumentException("longest: given " + longest + " tokens; allowed: 1.." + sizes.context
                    + ", as the model was made for");
        }
        options = QMatmul.Options.DEFAULT.withMode(mode);
        embeddings = file.tensor("token_embd.weight");
        outputNorm = vector(file, "output_norm.weight");
        output = matrix(file.tensors().getOrDefault("output.weight", embeddings));
        layers = IntStream.range(0, sizes.layers)
                .mapToObj(layer -> layer(file, "blk." + layer + ".", longest, cache))
                .toList();
        angles = angles(file);
    }

    private Layer layer(Gguf file, String prefix, int longest, KvFormat format) {
        KvCache cache = KvCache.builder(sizes.kvHeads, sizes.headSize)
                .pages(Math.ceilDiv(longest, PAGE))
                .pageSize(PAGE)
                .format(format, format)
                .build();
        return new Layer(
                vector(file, prefix + "attn_norm.weight"),
                PackedStack.of(List.of(
                        matrix(file.tensor(prefix + "attn_q.weight")),
                        matrix(file.tensor(prefix + "attn_k.weight")),
                        matrix(file.tensor(prefix + "attn_v.weight")))),
                matrix(file.tensor(prefix + "attn_output.weight")),
                vector(file, prefix + "ffn_norm.weight"),
                matrix(file.tensor(prefix + "ffn_gate.weight")),
                matrix(file.tensor(prefix + "ffn_up.weight")),
                matrix(file.tensor(prefix + "ffn_down.weight")),
                cache,
                cache.newSequence());
    }

    private static PackedWeights matrix(GgufTensor tensor) {
        return isFloat(tensor) ? QMatmul.pack(tensor.tensor(), QuantSpec.int8(32)) : QMatmul.pack(tensor.quantized());
    }

    private static Tensor vector(Gguf file, String name) {
        return file.tensor(name).tensor().to(DType.F32);
    }

    private static boolean isFloat(GgufTensor tensor) {
        return tensor.dtype() == DType.F32 || tensor.dtype() == DType.F16 || tensor.dtype() == DType.BF16;
    }

    private float[] angles(Gguf file) {
        GgufTensor factors = file.tensors().get("rope_freqs.weight");
        float[] found = new float[sizes.rotated / 2];
        for (int pair = 0; pair < found.length; pair++) {
            found[pair] = (float) (Math.pow(sizes.rotationBase, -2.0 * pair / sizes.rotated)
                    / (factors == null ? 1 : factors.tensor().getFloat(pair)));
        }
        return found;
    }

    /** How many tokens the text has. */
    int length() {
        return length;
    }

    /**
     * Appends tokens to the text.
     *
     * @param tokens one or more
     * @return the logits of what follows the last one, f32 [vocabulary]
     */
    float[] append(int... tokens) {
        int rows = tokens.length;
        if (rows == 0) {
            throw new IllegalArgumentException("tokens: given none; allowed: 1 or more");
        }
        Tensor x = embed(tokens);
        Tensor normal = f32(rows, sizes.width);
        Tensor queryKeyValue = f32(rows, layers.getFirst().queryKeyValue.columns());
        Tensor context = f32(rows, (long) sizes.heads * sizes.headSize);
        Tensor gate = f32(rows, sizes.inner);
        Tensor up = f32(rows, sizes.inner);
        QMatmul.Options toX = options.withResidual(x);
        for (Layer layer : layers) {
            Norm.rms(x, layer.attentionNorm, null, sizes.epsilon, normal);
            QMatmul.run(normal, layer.queryKeyValue, queryKeyValue, options);
            attend(layer, queryKeyValue, context, rows);
            QMatmul.run(context, layer.attentionOutput, x, toX);
            Norm.rms(x, layer.innerNorm, null, sizes.epsilon, normal);
            QMatmul.run(normal, layer.gate, gate, options.withActivation(QMatmul.Activation.SILU));
            QMatmul.run(normal, layer.up, up, options);
            multiply(gate, up);
            QMatmul.run(gate, layer.down, x, toX);
        }
        length += rows;
        Tensor last = f32(1, sizes.width);
        Norm.rms(x.slice(0, rows - 1, rows), outputNorm, null, sizes.epsilon, last);
        Tensor logits = f32(1, sizes.vocabulary);
        QMatmul.run(last, output, logits, options);
        return logits.toFloatArray();
    }

    /** The most likely token. */
    static int best(float[] logits) {
        return IntStream.range(0, logits.length)
                .reduce((a, b) -> logits[b] > logits[a] ? b : a)
                .orElseThrow();
    }

    private Tensor embed(int[] tokens) {
        Tensor x = f32(tokens.length, sizes.width);
        for (int row = 0; row < tokens.length; row++) {
            int token = tokens[row];
            if (token < 0 || token >= sizes.vocabulary) {
                throw new IllegalArgumentException(
                        "tokens[" + row + "] = " + token + "; allowed: 0.." + (sizes.vocabulary - 1));
            }
            Tensor to = x.slice(0, row, row + 1);
            if (isFloat(embeddings)) {
                to.copyFrom(embeddings.tensor().slice(0, token, token + 1).toFloatArray());
            } else {
                Quantize.dequantize(embeddings.quantized().slice(token, token + 1), to);
            }
        }
        return x;
    }

    private void attend(Layer layer, Tensor queryKeyValue, Tensor context, int rows) {
        int queries = sizes.heads * sizes.headSize;
        int keys = sizes.kvHeads * sizes.headSize;
        for (int row = 0; row < rows; row++) {
            rotate(queryKeyValue.segment(), row * (long) (queries + 2 * keys), length + row);
        }
        layer.tokens.append(
                heads(queryKeyValue, queries, sizes.kvHeads, rows),
                heads(queryKeyValue, queries + keys, sizes.kvHeads, rows));
        layer.tokens.attend(
                batch(queryKeyValue, 0, rows), batch(context, 0, rows), Decode.Options.DEFAULT.withCausal());
    }

    /** Rotates the pairs of neighbours of the heads of queries and keys, which begin at this element. */
    private void rotate(MemorySegment memory, long begin, int position) {
        for (int pair = 0; pair < angles.length; pair++) {
            double angle = (double) position * angles[pair];
            float cos = (float) Math.cos(angle);
            float sin = (float) Math.sin(angle);
            for (int head = 0; head < sizes.heads + sizes.kvHeads; head++) {
                long at = begin + (long) head * sizes.headSize + 2L * pair;
                float first = memory.getAtIndex(ValueLayout.JAVA_FLOAT, at);
                float second = memory.getAtIndex(ValueLayout.JAVA_FLOAT, at + 1);
                memory.setAtIndex(ValueLayout.JAVA_FLOAT, at, first * cos - second * sin);
                memory.setAtIndex(ValueLayout.JAVA_FLOAT, at + 1, first * sin + second * cos);
            }
        }
    }

    /** Some columns of all rows as [heads, rows, size], a view. */
    private Tensor heads(Tensor matrix, long column, int count, int rows) {
        long[] strides = {sizes.headSize, matrix.shape().size(1), 1};
        return Tensor.wrap(
                matrix.segment().asSlice(column * Float.BYTES),
                DType.F32,
                Shape.of(count, rows, sizes.headSize),
                strides);
    }

    /** The same of all queries' heads as [1, heads, rows, size]. */
    private Tensor batch(Tensor matrix, long column, int rows) {
        long[] strides = {
            matrix.shape().elements(), sizes.headSize, matrix.shape().size(1), 1
        };
        Shape shape = Shape.of(1, sizes.heads, rows, sizes.headSize);
        return Tensor.wrap(matrix.segment().asSlice(column * Float.BYTES), DType.F32, shape, strides);
    }

    private static void multiply(Tensor a, Tensor b) {
        MemorySegment to = a.segment();
        MemorySegment by = b.segment();
        for (long i = 0; i < a.shape().elements(); i++) {
            float product = to.getAtIndex(ValueLayout.JAVA_FLOAT, i) * by.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            to.setAtIndex(ValueLayout.JAVA_FLOAT, i, product);
        }
    }

    private static Tensor f32(long... shape) {
        return Tensor.allocate(DType.F32, shape);
    }

    @Override
    public void close() {
        layers.forEach(layer -> layer.cache.close());
    }

    @Override
    public String toString() {
        return sizes + ", weights "
                + Arrays.toString(layers.stream()
                        .map(layer -> layer.down.spec().toString())
                        .distinct()
                        .toArray());
    }
}
