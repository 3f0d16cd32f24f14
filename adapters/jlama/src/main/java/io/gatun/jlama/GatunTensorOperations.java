package io.gatun.jlama;

import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.operations.NaiveTensorOperations;
import com.github.tjake.jlama.tensor.operations.PanamaTensorOperations;
import com.github.tjake.jlama.tensor.operations.TensorOperations;
import com.github.tjake.jlama.tensor.operations.TensorOperationsProvider;
import com.github.tjake.jlama.util.MachineSpec;
import io.gatun.Gatun;
import io.gatun.ops.PackedWeights;
import io.gatun.ops.QMatmul;
import java.lang.ref.Reference;
import java.lang.reflect.Proxy;

/**
 * Jlama's tensor operations on the CPU. Products by weights of 4 bits (Q4), with activations of 8 bits (I8) or F32,
 * are Gatun's; all others are those of Jlama's own Java code, which {@link #name} and {@link #explain} tell.
 *
 * <p>Jlama calls from threads of its own for ranges of rows of the weights: each call computes on its caller's
 * thread, reads and writes Jlama's memory, and gives the same bits for any ranges. The first product of a weight
 * tensor packs it, into as much memory again, which is freed with the tensor; weights must not change after that.
 * Products of a part of the weights' columns, or of fewer than 16 rows, are Jlama's.
 *
 * <p>I8: exact integers in each block of 32, blocks added in ascending order by one fma each; a row with a code of
 * -128, or a scale of NaN or infinity is NaN. F32: {@link QMatmul.Mode#PRECISE}.
 *
 * <p>Jlama tells nobody when operations cannot be made: it takes its own. So where Gatun cannot serve, because of
 * Jlama's version, of jlama-native behind this artifact on the class path, or as its library is not there, every
 * operation throws {@link UnsupportedOperationException}, which says why. Where jlama-native comes before this
 * artifact, Jlama uses it, which {@link #require} alone can tell.
 */
public class GatunTensorOperations implements TensorOperations {
    private static final PackedTensors WEIGHTS = new PackedTensors();

    /** What Gatun does not serve; throws always if it cannot serve anything. */
    private final TensorOperations others;

    private final String name;
    private final boolean serves;

    /** For Jlama, which makes one. */
    public GatunTensorOperations() {
        String problem = problem();
        serves = problem == null;
        if (serves) {
            others = jlama();
            name = "Gatun " + Gatun.version() + " (" + Gatun.tier() + ") for Q4 weights; " + others.name()
                    + " for others";
        } else {
            name = "Gatun for Jlama, which cannot be used: " + problem;
            others = refusing(name);
        }
    }

    private static String problem() {
        String problem = JlamaVersion.problem();
        if (problem != null) {
            return problem;
        }
        try {
            Gatun.version();
            return null;
        } catch (LinkageError e) {
            return String.valueOf(
                    e.getCause() == null ? e.getMessage() : e.getCause().getMessage());
        }
    }

    /**
     * The operations that Jlama uses, if they are Gatun's.
     *
     * @throws IllegalStateException if Jlama has chosen others, or Gatun cannot serve: which, and why
     */
    public static GatunTensorOperations require() {
        TensorOperations used = TensorOperationsProvider.get();
        if (used instanceof GatunTensorOperations gatun) {
            if (gatun.serves) {
                return gatun;
            }
            throw new IllegalStateException(gatun.name);
        }
        throw new IllegalStateException("Jlama uses " + used.name()
                + "; for Gatun: gatun-jlama in the place of jlama-native, jlama-core " + JlamaVersion.SUPPORTED
                + ", and not -Djlama.force_panama_tensor_operations");
    }

    private static TensorOperations jlama() {
        return MachineSpec.VECTOR_TYPE == MachineSpec.Type.NONE
                ? new NaiveTensorOperations()
                : new PanamaTensorOperations(MachineSpec.VECTOR_TYPE);
    }

    private static TensorOperations refusing(String message) {
        Class<?> type = TensorOperations.class;
        return (TensorOperations) Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (p, m, a) -> {
            throw new UnsupportedOperationException(message);
        });
    }

    @Override
    public String name() {
        return name;
    }

    /** Jlama cuts products into as many ranges; with 1 it would make a range of each row. */
    @Override
    public int parallelSplitSize() {
        return Math.max(2, others.parallelSplitSize());
    }

    @Override
    public void batchDotProduct(
            AbstractTensor result,
            AbstractTensor a,
            AbstractTensor b,
            int aColumnOffset,
            int bColumnOffset,
            int columnLimit,
            int rRowOffset,
            int bRowOffset,
            int rowChunkSize) {
        Product product = new Product(
                result, a, b, aColumnOffset, bColumnOffset, columnLimit, rRowOffset, bRowOffset, rowChunkSize);
        if (!serves || product.unserved() != null) {
            others.batchDotProduct(
                    result, a, b, aColumnOffset, bColumnOffset, columnLimit, rRowOffset, bRowOffset, rowChunkSize);
            return;
        }
        try {
            product.run(WEIGHTS.of((Q4ByteBufferTensor) b));
        } finally {
            Reference.reachabilityFence(b);
        }
    }

    /** Who computes {@link #dotProductChunk} of these arguments and why, for a person. */
    public String explain(
            AbstractTensor result,
            AbstractTensor a,
            AbstractTensor b,
            int columnOffset,
            int columnLimit,
            int rowOffset,
            int rowChunkSize) {
        Product product =
                new Product(result, a, b, columnOffset, columnOffset, columnLimit, 0, rowOffset, rowChunkSize);
        String pair = a.dType() + " by " + b.dType() + ": ";
        String reason = serves ? product.unserved() : name;
        if (reason != null) {
            return pair + (serves ? others.name() + ", as " : "") + reason;
        }
        try {
            PackedWeights weights = WEIGHTS.of((Q4ByteBufferTensor) b);
            return pair + "Gatun, packed weights\n" + product.explain(weights);
        } finally {
            Reference.reachabilityFence(b);
        }
    }

    @Override
    public void accumulate(AbstractTensor a, AbstractTensor b, int offset, int length) {
        others.accumulate(a, b, offset, length);
    }

    @Override
    public void maccumulate(AbstractTensor a, AbstractTensor b, int offset, int length) {
        others.maccumulate(a, b, offset, length);
    }

    @Override
    public void saxpy(float alpha, AbstractTensor x, AbstractTensor y, int xoffset, int yoffset, int limit) {
        others.saxpy(alpha, x, y, xoffset, yoffset, limit);
    }

    @Override
    public void saxpy(
            AbstractTensor alpha,
            AbstractTensor x,
            AbstractTensor y,
            int xoffset,
            int yoffset,
            int limit,
            int aOffset,
            int xRowOffset,
            int batchSize) {
        others.saxpy(alpha, x, y, xoffset, yoffset, limit, aOffset, xRowOffset, batchSize);
    }

    @Override
    public void scale(float factor, AbstractTensor x, int offset, int length) {
        others.scale(factor, x, offset, length);
    }

    @Override
    public AbstractTensor quantize(AbstractTensor t, DType qtype, int offset, int length) {
        return others.quantize(t, qtype, offset, length);
    }

    @Override
    public float sum(AbstractTensor a) {
        return others.sum(a);
    }
}
