package io.gatun.files;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.ops.CodeBook;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.QuantSpec.NibbleOrder;
import io.gatun.ops.QuantizedTensor;
import io.gatun.ops.QuantizedTensor.NestedScales;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * 4-bit weights as bitsandbytes keeps them in safetensors files. Of a weight {@code w} there are:
 *
 * <table>
 * <caption>Tensors</caption>
 * <tr><td>{@code w}</td><td>u8 [ceil(n / 2), 1]</td><td>codes of the flattened weight, the first of two in the high
 * half</td></tr>
 * <tr><td>{@code w.absmax}</td><td>f32 or u8 [blocks]</td><td>scales, or codes of nested ones</td></tr>
 * <tr><td>{@code w.quant_map}</td><td>f32 [16]</td><td>the code book</td></tr>
 * <tr><td>{@code w.nested_absmax}</td><td>f32 [blocks / nested block]</td><td>of nested scales, their scales</td></tr>
 * <tr><td>{@code w.nested_quant_map}</td><td>f32 [256]</td><td>and their code book</td></tr>
 * <tr><td>{@code w.quant_state.bitsandbytes__nf4}, or fp4</td><td>u8</td><td>JSON: quant_type, blocksize, dtype, shape; of
 * nested scales nested_blocksize, nested_dtype, nested_offset</td></tr>
 * </table>
 */
public final class BitsAndBytes {
    private static final String STATE = ".quant_state.bitsandbytes__";
    private static final int NESTED_BLOCK = 256;

    private BitsAndBytes() {}

    /** Whether a file has a 4-bit weight of that name. */
    public static boolean contains(Safetensors file, String name) {
        Check.present("file", file);
        Check.present("name", name);
        return file.tensors().containsKey(name)
                && (file.tensors().containsKey(name + STATE + "nf4")
                        || file.tensors().containsKey(name + STATE + "fp4"));
    }

    /**
     * Reads a weight into memory of its own; O(elements). Nested scales stay nested where their code book is
     * {@link CodeBook#DYNAMIC} and their blocks have 256, as bitsandbytes makes them, and become plain f32 otherwise. A
     * weight of another rank than 2 is one of {@code [shape[0], the rest]}.
     *
     * @throws MalformedFileException if what belongs to the weight does not fit together
     * @throws IllegalArgumentException if something of it is missing
     */
    public static QuantizedTensor read(Safetensors file, String name) throws MalformedFileException {
        if (!contains(file, name)) {
            throw Check.invalid(
                    "name",
                    Text.quote(name),
                    "a weight with " + STATE + "nf4 or fp4; there are "
                            + file.tensors().size() + " tensors in the file");
        }
        QuantState state = QuantState.read(file, name, name + STATE);
        long elements = state.shape().elements();
        SafetensorsTensor codes = checked(file, name, SafetensorsType.U8, Math.ceilDiv(elements, 2));
        CodeBook book = state.type().equals("nf4") ? CodeBook.NF4 : CodeBook.FP4;
        float[] map = floats(file, name + ".quant_map", 16);
        if (!Arrays.equals(map, book.values())) {
            book = other(file, name + ".quant_map", map);
        }
        QuantSpec spec = QuantSpec.codeBook(book, state.block()).withNibbles(NibbleOrder.HIGH_FIRST);
        long blocks = spec.groups(elements);
        Tensor scales = null;
        NestedScales nested = null;
        if (!state.isNested()) {
            scales = Tensor.of(floats(file, name + ".absmax", blocks), 1, blocks);
        } else {
            Tensor absmax =
                    checked(file, name + ".absmax", SafetensorsType.U8, blocks).copy(Arena.ofAuto());
            long nestedBlocks = Math.ceilDiv(blocks, state.nestedBlock());
            float[] nestedAbsmax = floats(file, name + ".nested_absmax", nestedBlocks);
            float[] nestedMap = floats(file, name + ".nested_quant_map", 256);
            if (state.nestedBlock() == NESTED_BLOCK && Arrays.equals(nestedMap, CodeBook.DYNAMIC.values())) {
                Tensor codesOfScales = absmax.reshape(1, blocks);
                Tensor scalesOfScales = Tensor.of(nestedAbsmax, 1, nestedBlocks);
                QuantSpec nestedSpec = QuantSpec.dynamic8(NESTED_BLOCK);
                nested = new NestedScales(
                        new QuantizedTensor(
                                nestedSpec, Shape.of(1, blocks), codesOfScales, scalesOfScales, null, null, null),
                        Tensor.of(new float[] {state.nestedOffset()}, 1));
                spec = spec.withNestedScales();
            } else {
                scales = unnested(absmax.segment(), nestedAbsmax, nestedMap, state);
            }
        }
        Tensor highFirst = Tensor.wrap(codes.data(), DType.U4, 1, elements);
        QuantizedTensor low = new QuantizedTensor(spec, state.matrix(), highFirst, scales, null, null, nested)
                .reorder(NibbleOrder.LOW_FIRST);
        if (elements % 2 != 0) {
            // What lies beside the last code is nobody's.
            MemorySegment bytes = low.codes().segment();
            long last = bytes.byteSize() - 1;
            bytes.set(JAVA_BYTE, last, (byte) (bytes.get(JAVA_BYTE, last) & 15));
        }
        return low;
    }

    /** A book that is not the one that the file names. */
    private static CodeBook other(Safetensors file, String name, float[] map) throws MalformedFileException {
        try {
            return CodeBook.of(map);
        } catch (IllegalArgumentException unsorted) {
            throw new MalformedFileException(
                    file.file(),
                    "tensor " + Text.quote(name),
                    Arrays.toString(map),
                    "the book's values, or ascending ones");
        }
    }

    /** Each product and sum rounded to f32, as bitsandbytes does it. */
    private static Tensor unnested(MemorySegment codes, float[] nestedAbsmax, float[] map, QuantState state) {
        Tensor scales = Tensor.allocate(DType.F32, 1, codes.byteSize());
        for (long i = 0; i < codes.byteSize(); i++) {
            float value = map[codes.get(JAVA_BYTE, i) & 0xff] * nestedAbsmax[(int) (i / state.nestedBlock())];
            scales.segment().setAtIndex(JAVA_FLOAT, i, value + state.nestedOffset());
        }
        return scales;
    }

    private static SafetensorsTensor checked(Safetensors file, String name, SafetensorsType type, long elements)
            throws MalformedFileException {
        SafetensorsTensor tensor = file.tensor(name);
        if (tensor.type() != type || tensor.shape().elements() != elements) {
            throw new MalformedFileException(
                    file.file(), "tensor " + Text.quote(name), tensor, elements + " elements of " + type);
        }
        return tensor;
    }

    /** The numbers of a small tensor, which must be finite. */
    private static float[] floats(Safetensors file, String name, long elements) throws MalformedFileException {
        SafetensorsTensor tensor = checked(file, name, SafetensorsType.F32, elements);
        float[] values = tensor.copy(Arena.ofAuto()).toFloatArray();
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw new MalformedFileException(
                        file.file(), "tensor " + Text.quote(name), values[i] + " at " + i, "finite numbers");
            }
        }
        return values;
    }

    /**
     * The inverse of {@link #read}: the tensors of a weight, for {@link Safetensors#write}. O(elements).
     *
     * @param weights {@link QuantSpec#nf4} or {@link QuantSpec#fp4}, with plain or nested scales
     * @param original the type of the weight before it was quantized: F32, F16 or BF16
     * @throws IllegalArgumentException for other weights and types
     */
    public static List<SafetensorsTensor> write(String name, QuantizedTensor weights, DType original) {
        Check.present("name", name);
        Check.present("weights", weights);
        Check.present("original", original);
        QuantSpec spec = weights.spec();
        CodeBook book = spec.book();
        boolean fits = book != null
                && (book.equals(CodeBook.NF4) || book.equals(CodeBook.FP4))
                && spec.blocks().flat()
                && spec.group() > 0;
        if (!fits) {
            throw Check.invalid("weights", weights, "QuantSpec.nf4(block) or QuantSpec.fp4(block)");
        }
        String type = book.equals(CodeBook.NF4) ? "nf4" : "fp4";
        NestedScales nested = weights.nested();
        QuantState state = new QuantState(
                type,
                spec.group(),
                QuantState.nameOf(original),
                weights.shape(),
                nested == null ? 0 : NESTED_BLOCK,
                nested == null ? 0 : nested.offset().getFloat(0));
        QuantizedTensor high = weights.reorder(NibbleOrder.HIGH_FIRST);
        Tensor json = Tensor.of(
                DType.U8,
                state.json().getBytes(StandardCharsets.UTF_8),
                state.json().length());
        List<SafetensorsTensor> tensors = new ArrayList<>();
        long bytes = high.codes().segment().byteSize();
        tensors.add(SafetensorsTensor.of(name, Tensor.wrap(high.codes().segment(), DType.U8, bytes, 1)));
        if (nested == null) {
            tensors.add(flat(name + ".absmax", weights.scales()));
        } else {
            tensors.add(flat(name + ".absmax", nested.values().codes()));
            tensors.add(flat(name + ".nested_absmax", nested.values().scales()));
            tensors.add(flat(name + ".nested_quant_map", Tensor.of(CodeBook.DYNAMIC.values(), 256)));
        }
        tensors.add(flat(name + ".quant_map", Tensor.of(book.values(), 16)));
        tensors.add(SafetensorsTensor.of(name + STATE + type, json));
        return tensors;
    }

    private static SafetensorsTensor flat(String name, Tensor tensor) {
        return SafetensorsTensor.of(name, tensor.reshape(tensor.shape().elements()));
    }
}
