package io.gatun.onnxruntime;

import com.google.protobuf.InvalidProtocolBufferException;
import io.gatun.onnxruntime.proto.Onnx.ModelProto;
import io.gatun.onnxruntime.proto.Onnx.OperatorSetIdProto;
import io.gatun.ops.QMatmul;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Sparsity;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;

/**
 * Turns products by constant matrices in an ONNX model into {@link GatunOps}. The model's inputs and outputs stay as they
 * are, so a program that runs it needs {@link GatunOps#register} and nothing else.
 *
 * <ul>
 *   <li>{@code MatMul} by a constant float matrix becomes {@code QMatMul}, or {@code NmMatMul} if weights are pruned.
 *   <li>{@code MatMulNBits} (com.microsoft, 4 or 8 bits, f32, without g_idx) becomes {@code QMatMul} with the same codes, scales
 *       and zero points.
 *   <li>An {@code Add} of a constant vector and a {@code Relu}, {@code Gelu} or erf's formula of GELU after them become part
 *       of the op.
 *   <li>LayerNorm, with a sum before it, becomes {@code LayerNorm}, and attention, as exporters of encoders write it,
 *       {@code Attention}: without roundings in between, otherwise the same. A batch item whose mask hides all keys gets
 *       zeros.
 * </ul>
 */
public final class ModelRewriter {
    /** The domain of the ops. */
    static final String DOMAIN = "io.gatun";

    private static final String MICROSOFT = "com.microsoft";

    /**
     * What is done to weights.
     *
     * @param quantize how the weights of {@code MatMul} are quantized; null leaves them floats, which only pruned ones may
     *     be
     * @param prune what is kept of them by magnitude, or null for all
     * @param mode what {@code QMatMul} multiplies in; AUTO is INT8_ROW or BF16, of {@code MatMulNBits} INT8_GROUP with
     *     accuracy_level 4, otherwise PRECISE
     * @param nodes whether a node, given by its name, may be changed
     */
    public record Options(QuantSpec quantize, Sparsity.Nm prune, QMatmul.Mode mode, Predicate<String> nodes) {
        /** 8-bit weights with a scale a row, all nodes. */
        public static final Options DEFAULT = new Options(QuantSpec.int8(), null, QMatmul.Mode.AUTO, name -> true);

        /** Refuses null and plain floats. */
        public Options {
            Objects.requireNonNull(mode, "mode");
            Objects.requireNonNull(nodes, "nodes");
            if (quantize == null && prune == null) {
                throw new IllegalArgumentException(
                        "quantize = null without prune; allowed: a spec, or a pattern to prune to");
            }
        }

        /** The same with weights quantized so; null for floats. */
        public Options withQuantize(QuantSpec spec) {
            return new Options(spec, prune, mode, nodes);
        }

        /** The same with weights pruned to N:M, of floats if {@code quantize} is null. */
        public Options withPrune(Sparsity.Nm pattern) {
            return new Options(quantize, pattern, mode, nodes);
        }

        /** The same with another mode. */
        public Options withMode(QMatmul.Mode used) {
            return new Options(quantize, prune, used, nodes);
        }

        /** The same for some nodes only. */
        public Options withNodes(Predicate<String> changed) {
            return new Options(quantize, prune, mode, changed);
        }
    }

    /**
     * A model with Gatun's ops.
     *
     * @param model the ONNX file
     * @param changes for a person: a line for each node that was changed, or that could have been but for the reason given
     */
    public record Rewritten(byte[] model, List<String> changes) {}

    private ModelRewriter() {}

    /** Rewrites with {@link Options#DEFAULT}. */
    public static Rewritten rewrite(byte[] model) {
        return rewrite(model, Options.DEFAULT);
    }

    /**
     * Rewrites a model. Subgraphs (of If, Loop) are left as they are.
     *
     * @throws IllegalArgumentException if it is no ONNX model, or if weights cannot be packed as the options say
     * @throws UnsupportedOperationException if weights that are to be changed lie in another file
     */
    public static Rewritten rewrite(byte[] model, Options options) {
        return rewrite(parse(model, "model"), options, new TensorFiles(null, null));
    }

    private static ModelProto parse(byte[] model, String name) {
        try {
            ModelProto parsed = ModelProto.parseFrom(model);
            if (!parsed.hasGraph()) {
                throw new IllegalArgumentException(name + ": no ONNX file (it has no graph)");
            }
            return parsed;
        } catch (InvalidProtocolBufferException e) {
            throw new IllegalArgumentException(name + ": no ONNX file (" + e.getMessage() + ")", e);
        }
    }

    private static Rewritten rewrite(ModelProto model, Options options, TensorFiles files) {
        ModelProto.Builder rewritten = model.toBuilder();
        long opset = rewritten.getOpsetImportList().stream()
                .filter(set -> isStandard(set.getDomain()))
                .mapToLong(OperatorSetIdProto::getVersion)
                .findFirst()
                .orElse(1);
        GraphRewriter graph = new GraphRewriter(rewritten.getGraph(), opset, rewritten.getIrVersion(), options, files);
        rewritten.setGraph(graph.rewrite());
        rewritten.setIrVersion(Math.max(rewritten.getIrVersion(), GraphView.INITIALIZERS_ARE_DEFAULTS));
        if (rewritten.getOpsetImportList().stream()
                .noneMatch(set -> set.getDomain().equals(DOMAIN))) {
            rewritten.addOpsetImport(
                    OperatorSetIdProto.newBuilder().setDomain(DOMAIN).setVersion(1));
        }
        return new Rewritten(rewritten.build().toByteArray(), List.copyOf(graph.changes()));
    }

    /**
     * Rewrites a file into another one. If tensors lie in files beside {@code from}, as they do in models above 2 GB, those
     * of the rewritten model lie in one beside {@code to}, named as that and {@code .data}; not those of subgraphs, whose
     * files must be copied if {@code to} is in another folder.
     *
     * @return what was changed, as {@link Rewritten#changes}
     * @throws IllegalArgumentException as the other one; or if tensors lie in no file of the folder, or beyond its end, or
     *     where those of {@code to} are to lie, or if {@code to} is {@code from}; {@code to} is as it was then
     */
    public static List<String> rewrite(Path from, Path to, Options options) throws IOException {
        Path source = from.toAbsolutePath();
        Path target = to.toAbsolutePath();
        if (Files.exists(to) && Files.isSameFile(from, to)) {
            throw new IllegalArgumentException("to = " + to + " is from; allowed: another file");
        }
        ModelProto model = parse(Files.readAllBytes(from), from.toString());
        boolean external = model.getGraph().getInitializerList().stream().anyMatch(TensorFiles::isExternal);
        Path data = external ? target.resolveSibling(target.getFileName() + ".data") : null;
        try (TensorFiles files = new TensorFiles(source.getParent(), data)) {
            Rewritten rewritten = rewrite(model, options, files);
            Path unfinished = target.resolveSibling(target.getFileName() + ".part");
            Files.write(unfinished, rewritten.model());
            files.commit();
            Files.move(unfinished, target, StandardCopyOption.REPLACE_EXISTING);
            return rewritten.changes();
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    /** Whether a domain is that of ONNX's own ops. */
    static boolean isStandard(String domain) {
        return domain.isEmpty() || domain.equals("ai.onnx");
    }

    static boolean isMicrosoft(String domain) {
        return domain.equals(MICROSOFT);
    }
}
