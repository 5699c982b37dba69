answer=$(curl -sS --max-time 5 --noproxy '*' http://127.0.0.1:5002/backend \
  -H "X-Backend-Key: $SNORKY_API_KEY" -H "Content-Type: application/json" \
  -d '{"service": "doorbell_backend", "message": {"command": "ring", "params": {"visitor": "Ada"}}}')
echo "$answer"
case $answer in *'"type":"response"'*) ;; *) exit 1 ;; esac  # a refusal is an answer too
