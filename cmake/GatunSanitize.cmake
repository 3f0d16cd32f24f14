# GATUN_SANITIZE: everything under AddressSanitizer and UndefinedBehaviorSanitizer; the first finding ends the process.
option(GATUN_SANITIZE "Build with ASan and UBSan" OFF)
if(GATUN_SANITIZE)
  target_compile_options(gatun_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
                                               -fno-omit-frame-pointer)
  target_link_options(gatun_flags INTERFACE -fsanitize=address,undefined)
endif()
