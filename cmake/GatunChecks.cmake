# gatun_check(<name> <argument>...): a script of cmake/checks as the test check.<name>; where one script is several tests,
# their names are <script>.<which>.

# The newest GLIBC that libgatun.so may need; README states it. From 2.38 on, GLIBC's headers and static libstdc++ bind to
# symbols of their own version whatever the source says: a library built there is for machines like it.
set(GATUN_GLIBC 2.35)
execute_process(COMMAND getconf GNU_LIBC_VERSION OUTPUT_VARIABLE glibc OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
string(REGEX REPLACE "^glibc " "" glibc "${glibc}")
if(glibc VERSION_GREATER_EQUAL 2.38)
  set(GATUN_GLIBC ${glibc})
endif()

find_program(GATUN_SH sh REQUIRED)
find_program(GATUN_READELF NAMES ${CMAKE_READELF} readelf REQUIRED)
get_filename_component(root ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
set(GATUN_CHECKS ${CMAKE_CURRENT_LIST_DIR}/checks)

function(gatun_check name)
  string(REGEX REPLACE "\\..*" "" script ${name})
  add_test(NAME check.${name} COMMAND ${GATUN_SH} ${GATUN_CHECKS}/${script}.sh ${ARGN} COMMAND_EXPAND_LISTS)
  set_tests_properties(check.${name} PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77)
endfunction()
