package io.gatun.example;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The same decoder in plain Java, from the definition, over all tokens anew for each. */
final class PlainLlama {
    /**
     * What the model is, whatever its file says.
     *
     * @param factors that divide the angles of the pairs
     */
    record Numbers(
            int layers,
            int width,
            int heads,
            int kvHeads,
            int headSize,
            int rotated,
            double rotationBase,
            double epsilon,
            float[] factors) {}

    private final Map<String, float[]> weights;
    private final Numbers sizes;
    private final List<Integer> tokens = new ArrayList<>();

    /** @param weights by their names in the file, row-major */
    PlainLlama(Map<String, float[]> weights, Numbers sizes) {
        this.weights = weights;
        this.sizes = sizes;
    }

    double[] append(int... more) {
        for (int token : more) {
            tokens.add(token);
        }
        int count = tokens.size();
        double[][] x = new double[count][sizes.width()];
        for (int t = 0; t < count; t++) {
            for (int i = 0; i < sizes.width(); i++) {
                x[t][i] = weights.get("token_embd.weight")[tokens.get(t) * sizes.width() + i];
            }
        }
        for (int layer = 0; layer < sizes.layers(); layer++) {
            String prefix = "blk." + layer + ".";
            double[][] q = new double[count][];
            double[][] k = new double[count][];
            double[][] v = new double[count][];
            for (int t = 0; t < count; t++) {
                double[] normal = norm(x[t], prefix + "attn_norm.weight");
                q[t] = rotated(times(prefix + "attn_q.weight", normal), t);
                k[t] = rotated(times(prefix + "attn_k.weight", normal), t);
                v[t] = times(prefix + "attn_v.weight", normal);
            }
            for (int t = 0; t < count; t++) {
                add(x[t], times(prefix + "attn_output.weight", attention(q[t], k, v, t)));
                double[] normal = norm(x[t], prefix + "ffn_norm.weight");
                double[] gate = times(prefix + "ffn_gate.weight", normal);
                double[] up = times(prefix + "ffn_up.weight", normal);
                for (int i = 0; i < gate.length; i++) {
                    gate[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
                }
                add(x[t], times(prefix + "ffn_down.weight", gate));
            }
        }
        String output = weights.containsKey("output.weight") ? "output.weight" : "token_embd.weight";
        return times(output, norm(x[count - 1], "output_norm.weight"));
    }

    private double[] attention(double[] q, double[][] k, double[][] v, int last) {
        int size = sizes.headSize();
        double[] out = new double[sizes.heads() * size];
        for (int head = 0; head < sizes.heads(); head++) {
            int shared = head / (sizes.heads() / sizes.kvHeads());
            double total = 0;
            for (int t = 0; t <= last; t++) {
                double dot = 0;
                for (int i = 0; i < size; i++) {
                    dot += q[head * size + i] * k[t][shared * size + i];
                }
                double weight = Math.exp(dot / Math.sqrt(size));
                total += weight;
                for (int i = 0; i < size; i++) {
                    out[head * size + i] += weight * v[t][shared * size + i];
                }
            }
            for (int i = 0; i < size; i++) {
                out[head * size + i] /= total;
            }
        }
        return out;
    }

    private double[] rotated(double[] heads, int position) {
        double[] turned = heads.clone();
        for (int head = 0; head < heads.length / sizes.headSize(); head++) {
            for (int i = 0; i < sizes.rotated(); i += 2) {
                double angle = position
                        * Math.pow(sizes.rotationBase(), -(double) i / sizes.rotated())
                        / sizes.factors()[i / 2];
                int at = head * sizes.headSize() + i;
                turned[at] = heads[at] * Math.cos(angle) - heads[at + 1] * Math.sin(angle);
                turned[at + 1] = heads[at] * Math.sin(angle) + heads[at + 1] * Math.cos(angle);
            }
        }
        return turned;
    }

    private double[] norm(double[] x, String name) {
        double squares = 0;
        for (double value : x) {
            squares += value * value;
        }
        double factor = 1 / Math.sqrt(squares / x.length + sizes.epsilon());
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = x[i] * factor * weights.get(name)[i];
        }
        return y;
    }

    private double[] times(String name, double[] x) {
        float[] matrix = weights.get(name);
        double[] y = new double[matrix.length / x.length];
        for (int row = 0; row < y.length; row++) {
            for (int i = 0; i < x.length; i++) {
                y[row] += matrix[row * x.length + i] * x[i];
            }
        }
        return y;
    }

    private static void add(double[] to, double[] what) {
        for (int i = 0; i < to.length; i++) {
            to[i] += what[i];
        }
    }
}
