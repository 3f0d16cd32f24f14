package io.gatun.bench.peers;

import io.gatun.Tier;
import io.gatun.bench.AttentionPeer;
import io.gatun.bench.DecodePeer;
import io.gatun.bench.OptimizerPeer;
import io.gatun.bench.Peer;
import io.gatun.bench.QuantizePeer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The implementations that Gatun is compared with, each in the fastest configuration that its documentation offers and
 * with as many threads as the case allows.
 *
 * <p>Threads that look for work after a call disturb whoever is timed next. Those of OpenMP, which oneDNN and libtorch
 * share, do so for about 10 ms; here half a millisecond, which bridges the gaps between calls.
 */
public final class Peers {
    /** Of all, those that do not load here, too. */
    public static final List<String> NAMES = List.of(
            "onnxruntime",
            "onednn",
            "onednn-w4a16",
            "onednn-bf16",
            "libtorch",
            "libtorch-bf16",
            "jlama",
            "onnxruntime-mha",
            "onnxruntime-gqa",
            "onnxruntime-gqa-f16",
            "onnxruntime-gqa-int8",
            "onnxruntime-gqa-int4",
            "onnxruntime-sparse");

    private static final String BLAS_KERNELS = "OPENBLAS_CORETYPE";
    private static final String BLAS_THREADS = "OPENBLAS_NUM_THREADS";

    private Peers() {}

    /** Loads a library. */
    interface Loader<P> {
        List<P> load() throws Exception;
    }

    /**
     * All of {@code qmatmul} that load here.
     *
     * @param missing is told of each that does not, by name and reason
     */
    public static List<Peer> all(Consumer<String> missing) {
        shortenSpinning();
        List<Peer> peers = new ArrayList<>();
        load("onnxruntime", () -> List.of(new OnnxRuntime()), peers, missing);
        load("onednn", OneDnn::all, peers, missing);
        load("libtorch", () -> List.of(new LibTorch()), peers, missing);
        load("jlama", () -> List.of(new Jlama()), peers, missing);
        return peers;
    }

    /** Those of {@code quantize}, likewise. */
    public static List<QuantizePeer> quantizers(Consumer<String> missing) {
        List<QuantizePeer> peers = new ArrayList<>();
        load("onnxruntime", () -> List.of(new OnnxQuantize()), peers, missing);
        return peers;
    }

    /** Those of {@code optimizer}, likewise. */
    public static List<OptimizerPeer> optimizers(Consumer<String> missing) {
        shortenSpinning();
        List<OptimizerPeer> peers = new ArrayList<>();
        load("libtorch", () -> List.of(new TorchOptimizer()), peers, missing);
        return peers;
    }

    /** Those of {@code attention}, likewise. */
    public static List<AttentionPeer> attention(Consumer<String> missing) {
        shortenSpinning();
        chooseBlasKernels();
        List<AttentionPeer> peers = new ArrayList<>();
        load("libtorch", () -> List.of(new TorchAttention()), peers, missing);
        load("onnxruntime", OnnxAttention::all, peers, missing);
        return peers;
    }

    /** Those of {@code decode}, likewise. */
    public static List<DecodePeer> decode(Consumer<String> missing) {
        shortenSpinning();
        chooseBlasKernels();
        List<DecodePeer> peers = new ArrayList<>();
        load("libtorch", TorchDecode::all, peers, missing);
        load("onnxruntime", OnnxDecode::all, peers, missing);
        return peers;
    }

    /**
     * OpenBLAS, whose products libtorch's attention consists of, takes kernels of 256 bits on processors of AMD, also
     * where those for AVX-512 run, and threads of its own for each product, though libtorch's threads have their own
     * products: on two threads, ten times slower where anybody else computes. It reads both variables when it is
     * loaded.
     */
    private static void chooseBlasKernels() {
        if (System.getenv(BLAS_KERNELS) == null && Tier.AVX512.isSupported()) {
            NativeCode.setEnvironment(BLAS_KERNELS, "SKYLAKEX");
        }
        if (System.getenv(BLAS_THREADS) == null) {
            NativeCode.setEnvironment(BLAS_THREADS, "1");
        }
    }

    /** Read when the library of OpenMP is loaded. */
    private static void shortenSpinning() {
        NativeCode.setEnvironment("GOMP_SPINCOUNT", "30000");
    }

    static <P> void load(String name, Loader<P> loader, List<P> peers, Consumer<String> missing) {
        try {
            peers.addAll(loader.load());
        } catch (Exception | LinkageError e) {
            missing.accept(name + " is left out: " + e);
        }
    }
}
