import com.github.tjake.jlama.math.VectorMath;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.Q4ByteBufferTensor;
import com.github.tjake.jlama.tensor.Q8ByteBufferTensor;
import io.gatun.jlama.GatunTensorOperations;

class JlamaProduct {
    public static void main(String[] arguments) {
        GatunTensorOperations gatun = GatunTensorOperations.require(); // what Jlama uses, or an error that says why not
        System.out.println(gatun.name());
        FloatBufferTensor weights = new FloatBufferTensor(256, 1024);
        FloatBufferTensor x = new FloatBufferTensor(1, 1024);
        for (int k = 0; k < 1024; k++) {
            x.set((float) Math.sin(k), 0, k);
            for (int n = 0; n < 256; n++) {
                weights.set((float) Math.cos(n + k), n, k);
            }
        }
        Q4ByteBufferTensor w = new Q4ByteBufferTensor(weights);
        Q8ByteBufferTensor codes = new Q8ByteBufferTensor(x);
        FloatBufferTensor y = new FloatBufferTensor(1, 256);
        VectorMath.pchunk(0, 256, (row, rows) -> gatun.dotProductChunk(y, codes, w, 0, 1024, row, rows));
        System.out.println(gatun.explain(y, codes, w, 0, 1024, 0, 256));
        System.out.println(y.get(0, 1) + " " + y.get(0, 255));
    }
}
