package io.gatun.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.pytorch.engine.PtNDArray;
import io.gatun.djl.NDViews.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Asks libtorch's C interface (aoti_torch_get_data_ptr, aoti_torch_get_strides) where a tensor is. */
final class PyTorchMemory {
    private static final MethodHandle DATA = function("aoti_torch_get_data_ptr");
    private static final MethodHandle STRIDES = function("aoti_torch_get_strides");

    private PyTorchMemory() {}

    static Memory of(NDArray array) {
        // DJL's handle is a pointer to an at::Tensor, and so is AtenTensorHandle.
        long tensor = ((PtNDArray) array).getHandle();
        int rank = array.getShape().dimension();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.ADDRESS, 2);
            int failed = (int) DATA.invokeExact(tensor, out);
            failed |= (int) STRIDES.invokeExact(tensor, out.asSlice(ValueLayout.ADDRESS.byteSize()));
            if (failed != 0) {
                throw new IllegalStateException("PyTorch does not tell where an array " + array.getShape() + " is");
            }
            long[] strides = out.getAtIndex(ValueLayout.ADDRESS, 1)
                    .reinterpret((long) rank * Long.BYTES)
                    .toArray(ValueLayout.JAVA_LONG);
            return new Memory(out.getAtIndex(ValueLayout.ADDRESS, 0).address(), strides);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** int name(long tensor, void** out), of the library that DJL has loaded. */
    private static MethodHandle function(String name) {
        MemorySegment address;
        try {
            address = SymbolLookup.libraryLookup(System.mapLibraryName("torch_cpu"), Arena.global())
                    .find(name)
                    .orElse(null);
        } catch (IllegalArgumentException e) {
            address = null;
        }
        if (address == null) {
            throw new UnsupportedOperationException(
                    "libtorch has no function " + name + "; allowed: PyTorch 2.2 or newer, loaded by DJL");
        }
        return Linker.nativeLinker()
                .downcallHandle(
                        address,
                        FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS));
    }
}
