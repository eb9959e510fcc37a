# zsh -f complete.zsh SCRIPT LINE...: what a zsh with the completions of SCRIPT offers at the end of each LINE, a line each.
zmodload zsh/zpty
zpty shell zsh -f -i
setup="PS1= PS2= RPS1=; stty -echo; autoload -Uz compinit; compinit -u -D; source ${(q)1}
compadd() { local -a these; builtin compadd -O these \"\$@\"; offered+=(\$these); builtin compadd \"\$@\" }
complete-word-of-test() { offered=(); zle list-choices; BUFFER=; print -r -- \"<<\${offered}>>\" }
zle -N complete-word-of-test; bindkey '^X' complete-word-of-test; print ready"
zpty -w shell ${setup//$'\n'/; }
# Reads until the shell has printed what ends with $1.
read_until() {
  local part
  seen=
  while [[ $seen != *$1* ]]; do zpty -r shell part || exit 1; seen+=$part; done
}
read_until ready
for line in ${@:2}; do
  zpty -n -w shell "$line"$'\x18'
  read_until '>>'
  print -r -- "${${seen##*<<}%%>>*}"
done
zpty -d shell
