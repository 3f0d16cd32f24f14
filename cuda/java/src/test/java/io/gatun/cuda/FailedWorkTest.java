package io.gatun.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.GatunException;
import io.gatun.Tensor;
import io.gatun.bindings.CudaLibrary;
import io.gatun.bindings.NativeLibrary;
import io.gatun.ops.QuantSpec;
import io.gatun.ops.Quantize;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** Work that fails is an exception of whatever waits, and of all that follows on the device, in a process of its own. */
@EnabledIfSystemProperty(named = Devices.PROPERTY, matches = "emulated-runtime")
class FailedWorkTest {
    private static final String SAYS = "said: ";

    /** Prints what each call says. */
    static final class Main {
        public static void main(String[] arguments) throws Throwable {
            CudaDevice device = Cuda.device(0);
            CudaDevice other = Cuda.device(1);
            Arena arena = Arena.ofShared();
            Tensor x = device.allocate(arena, DType.F32, 2, 64);
            Tensor pinned = device.pinned(arena, DType.F32, 2, 64);
            CudaStream stream = device.newStream();
            fail(stream);
            CudaEvent event = stream.record();
            say("copy", () -> stream.copy(x, pinned));
            say("event.synchronize", event::synchronize);
            say("event.isDone", event::isDone);
            say("stream.synchronize", stream::synchronize);
            say("stream.isDone", stream::isDone);
            say("stream.copy", () -> stream.copy(x, pinned));
            say("stream.record", stream::record);
            say("device.synchronize", device::synchronize);
            say("device.allocate", () -> device.allocate(DType.F32, 4));
            say("device.pinned", () -> device.pinned(DType.F32, 4));
            say("device.newStream", device::newStream);
            say("Quantize.run", () -> Quantize.run(x, QuantSpec.int8()));
            say("event.close", event::close);
            say("stream.close", stream::close);
            say("stream.close again", stream::close);
            say("arena.close", arena::close);
            say(
                    "other device",
                    () -> Quantize.run(Tensor.allocate(DType.F32, 2, 64).to(other), QuantSpec.int8()));
        }

        private static void fail(CudaStream stream) throws Throwable {
            int error = (int) Linker.nativeLinker()
                    .downcallHandle(
                            SymbolLookup.libraryLookup("libcudart.so.13", Arena.global())
                                    .find("gatun_emulator_fail")
                                    .orElseThrow(),
                            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG))
                    .invokeExact(stream.address());
            assertEquals(0, error);
        }

        private static void say(String name, Runnable call) {
            String outcome = "done";
            try {
                call.run();
            } catch (GatunException e) {
                outcome = e.getMessage().contains("an illegal memory access was encountered (cudaErrorIllegalAddress)")
                        ? "failed"
                        : e.getMessage();
            }
            System.out.println(SAYS + name + ": " + outcome);
        }
    }

    @Test
    void isAnExceptionOfWhatFollows() throws Exception {
        Process process = new ProcessBuilder(List.of(
                        System.getProperty("java.home") + "/bin/java",
                        "--enable-native-access=ALL-UNNAMED",
                        property(NativeLibrary.PATH_PROPERTY),
                        property(CudaLibrary.PATH_PROPERTY),
                        property("org.bytedeco.javacpp.cachedir"),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Main.class.getName()))
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        String said = output.lines()
                .filter(line -> line.startsWith(SAYS))
                .map(line -> line.substring(SAYS.length()) + "\n")
                .collect(Collectors.joining());
        assertEquals("""
                copy: done
                event.synchronize: failed
                event.isDone: failed
                stream.synchronize: failed
                stream.isDone: failed
                stream.copy: failed
                stream.record: failed
                device.synchronize: failed
                device.allocate: failed
                device.pinned: failed
                device.newStream: failed
                Quantize.run: failed
                event.close: done
                stream.close: failed
                stream.close again: done
                arena.close: done
                other device: done
                """, said);
    }

    private static String property(String name) {
        return "-D" + name + "=" + System.getProperty(name);
    }
}
