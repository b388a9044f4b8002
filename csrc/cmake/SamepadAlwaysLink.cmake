# samepad_always_link(<target>)
#
# Keeps the shared library <target> in every program that links it. A program that uses samepad's
# operators through the dispatcher alone, as TorchScript does, refers to no symbol of the library,
# and the linker would drop it (--as-needed, which LibTorch's own link flags switch on).
#
# Used by samepad's build and by its installed package.

function(samepad_always_link target)
  set(options
    LINKER:--push-state,--no-as-needed $<TARGET_FILE:${target}> LINKER:--pop-state)
  # Not written into the installed package, which calls this function for its own target.
  target_link_options(${target} INTERFACE "$<BUILD_INTERFACE:${options}>")
endfunction()
